"""The sweep of lost pokes, with a clock of its own."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import text

from beat import lost_pokes
from beat.sweep import Sweep
from orchestrator import protos as pb
from orchestrator.services import attempts, functions
from orchestrator.store import outbox
from tests.conformance import messages
from tests.integration.beat.network import after, at_once, made

AGE = 30.0


@pytest.fixture
def sweep(database) -> Sweep:
    return made(lost_pokes, database, lost_poke_age=AGE)


def test_a_task_that_stays_to_do_is_poked_again(database, network, sweep):
    (task,) = network.register(1)
    assert [poke.key for poke in network.send()] == [task]
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert network.send() == [outbox.Poke("task", "org-1", task, 1)]


def test_a_fresh_poke_is_left_alone(database, network, sweep):
    network.register(1)
    network.send()
    assert sweep.sweep(database, after(AGE - 5)) == 0


def test_the_pause_doubles_with_each_poke_up_to_an_hour(database, network, sweep):
    network.register(1)
    network.send()
    now = after(0)
    pauses = []
    for _ in range(10):
        started, now = now, now + timedelta(seconds=1)
        while not sweep.sweep(database, now):
            now += timedelta(seconds=10)
        network.send()
        pauses.append((now - started).total_seconds())
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[1] == pytest.approx(2 * AGE, abs=15)
    assert max(pauses) == pytest.approx(3600, abs=15)


def test_a_task_that_was_claimed_is_not_poked(database, network, sweep):
    (task,) = network.register(1)
    network.call(attempts.claim, pb.ClaimTaskParam(compute_task_key=str(task), claim_id="claim"))
    assert sweep.sweep(database, after(3600 * 24)) == 0


def test_more_than_a_batch_is_swept_at_once(database, network, sweep):
    tasks = network.register(5)
    network.send()
    assert sweep.sweep(database, after(AGE + 1)) == 5
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_two_sweeps_at_once_poke_each_task_once(database, network, sweep):
    tasks = network.register(20)
    network.send()
    now = after(AGE + 1)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) == 20
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_a_locked_task_is_passed_over(database, network, sweep):
    held, free = network.register(2)
    network.send()
    with network.locked("tasks", "key = :key", key=held):
        assert sweep.sweep(database, after(AGE + 1)) == 1
    assert [poke.key for poke in network.send()] == [free]


def test_a_task_that_waits_for_its_pause_is_not_poked(database, network, sweep):
    (task,) = network.register(1)
    network.fail(network.claim(task).attempt)
    network.send()
    assert sweep.sweep(database, after(3600 * 24)) == 0


def test_the_next_attempt_is_announced(database, network, sweep):
    (task,) = network.register(1)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET attempts = 2 WHERE key = :key"), {"key": task})
    network.send()
    sweep.sweep(database, after(AGE + 1))
    assert [poke.attempt for poke in network.send()] == [3]


def test_a_poke_that_waits_for_the_broker_is_not_lost(database, network, sweep):
    network.register(1)
    assert sweep.sweep(database, after(AGE + 1)) == 0
    assert len(network.send()) == 1


def test_a_function_that_nobody_builds_is_poked_again_until_it_is_ready(database, network, sweep):
    function = network.call(functions.register, messages.new_function())
    built = outbox.Poke("function", "org-1", UUID(function.key), 1)
    assert network.send() == [built]
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert network.send() == [built]
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    assert sweep.sweep(database, after(4 * AGE)) == 1
    network.act(function, pb.FUNCTION_ACTION_READY)
    network.send()
    assert sweep.sweep(database, after(3600 * 24)) == 0
