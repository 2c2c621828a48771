"""The sweep of due retries, with a clock of its own."""

from datetime import timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import outbox
from orchestrator.engine.sweeps import due_retries
from orchestrator.store.sweep import Sweep
from tests.kit.member import Member, after, at_once, made, refused

PAUSED = 300


@pytest.fixture
def sweep(database) -> Sweep:
    return made(due_retries, database)


def failed_once(network: Member, count: int = 1):
    tasks = network.register(count)
    for task in tasks:
        network.fail(network.claim(task).attempt)
    network.send()
    return tasks


def test_a_task_is_not_claimed_before_its_pause_is_over(database, network, sweep):
    (task,) = failed_once(network)
    for attempt in (0, 2):
        with refused("OE0104", "pause"):
            network.claim(task, attempt)
    with refused("OE0104", "pause"):
        network.end(task, pb.TASK_ACTION_EXECUTING)
    due = network.row(task).due_at
    assert sweep.sweep(database, due - timedelta(microseconds=1)) == 0
    assert not network.send()


def test_a_task_is_poked_when_its_pause_is_over(database, network, sweep):
    (task,) = failed_once(network)
    assert sweep.sweep(database, network.row(task).due_at) == 1
    assert network.send() == [outbox.Poke(RUN_TASK, "org.org-1", task, 2)]
    assert network.row(task).due_at is None
    assert sweep.sweep(database, after(PAUSED)) == 0
    with refused("OE0104"):
        network.claim(task, 1)
    assert network.claim(task, 2).attempt.number == 2


def test_a_task_may_be_claimed_without_a_poke_once_its_pause_is_over(database, network, sweep):
    (task,) = failed_once(network)
    network.execute("UPDATE task_states SET due_at = now() - interval '1 second'")
    assert network.claim(task).attempt.number == 2
    assert sweep.sweep(database, after(PAUSED)) == 0


def test_a_task_that_was_cancelled_is_not_poked(database, network, sweep):
    cancelled, with_plan = failed_once(network, 2)
    network.end(cancelled, pb.TASK_ACTION_CANCELED)
    network.cancel()
    assert network.words([cancelled, with_plan]) == ["Cancelled", "Cancelled"]
    assert sweep.sweep(database, after(PAUSED)) == 0
    assert [network.row(task).due_at for task in (cancelled, with_plan)] == [None, None]


def test_a_batch_is_bounded_and_a_sweep_takes_all(database, network, sweep):
    tasks = failed_once(network, 5)
    assert sweep.run(database, after(PAUSED), sweep.batch) == 2
    assert sweep.sweep(database, after(PAUSED)) == 3
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_two_sweeps_at_once_poke_each_task_once(database, network, sweep):
    tasks = failed_once(network, 20)
    now = after(PAUSED)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 20
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_a_locked_task_is_passed_over(database, network, sweep):
    held, free = failed_once(network, 2)
    with network.locked("task_states", "key = :key", key=held):
        assert sweep.sweep(database, after(PAUSED)) == 1
    assert [poke.key for poke in network.send()] == [free]
    assert sweep.sweep(database, after(PAUSED)) == 1
