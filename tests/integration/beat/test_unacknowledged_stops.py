"""The sweep of unacknowledged stops, with a clock of its own."""

from datetime import timedelta
from itertools import pairwise

import pytest

from orchestrator import protos as pb
from orchestrator.core.rules import Rules
from orchestrator.engine import outbox
from orchestrator.engine.sweeps import unacknowledged_stops
from orchestrator.store.sweep import Sweep
from tests.kit.member import Member, after, at_once, made

AGE = 15.0
DEADLINE = 600.0
LEASE = Rules().lease.total_seconds()


@pytest.fixture
def sweep(database) -> Sweep:
    return made(unacknowledged_stops, database, stop_age=AGE, stop_deadline=DEADLINE)


def cancelled(network: Member, count: int = 1):
    """Attempts of a plan that was cancelled while they ran; the first pokes are sent."""
    attempts = [network.claim(task).attempt for task in network.register(count)]
    network.send()
    network.cancel()
    network.send()
    return attempts


def stop(attempt: pb.Attempt) -> tuple[str, int]:
    return attempt.compute_task_key, attempt.number


def stops(network: Member) -> list[tuple[str, int]]:
    pokes = network.send()
    assert {(poke.kind, poke.organization) for poke in pokes} <= {("stop", "org-1")}
    return [(str(poke.key), poke.attempt) for poke in pokes]


def test_the_first_poke_comes_with_the_cancellation(network):
    tasks = network.register(3)
    attempts = [network.claim(task).attempt for task in tasks[:2]]
    network.send()
    network.cancel()
    assert sorted(stops(network)) == sorted(map(stop, attempts))


def test_a_single_task_is_stopped_too(database, network, sweep):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.send()
    network.end(task, pb.TASK_ACTION_CANCELED)
    assert stops(network) == [stop(attempt)]
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert stops(network) == [stop(attempt)]


def test_a_stop_that_is_not_acknowledged_is_told_again(database, network, sweep):
    (attempt,) = cancelled(network)
    assert sweep.sweep(database, after(AGE - 1)) == 0
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert stops(network) == [stop(attempt)]


def test_delivered_is_not_stopped(database, network, sweep):
    (attempt,) = cancelled(network)
    assert network.heartbeat(attempt).stops
    assert sweep.sweep(database, after(AGE + 1)) == 1


def test_a_stop_that_is_acknowledged_is_not_told_again(database, network, sweep):
    (attempt,) = cancelled(network)
    network.heartbeat(stopped=[attempt])
    assert sweep.sweep(database, after(AGE + 1)) == 0


def long_ago(network: Member) -> None:
    """Let the cancellation have been more than a lease ago."""
    network.execute(f"UPDATE attempts SET ended_at = ended_at - interval '{LEASE + 1} seconds'")


def stopped(network: Member) -> list[bool]:
    return [row.stopped_at is not None for row in network.rows("SELECT stopped_at FROM attempts")]


def test_an_attempt_that_its_node_never_named_never_began(database, network, sweep):
    cancelled(network)
    long_ago(network)
    network.heartbeat()
    assert sweep.sweep(database, after(0)) == 1
    assert (stopped(network), stops(network)) == ([True], [])
    assert sweep.sweep(database, after(10 * AGE)) == 0


def test_an_attempt_whose_node_may_not_have_got_the_claim_yet_is_told_again(database, network, sweep):
    cancelled(network)
    network.heartbeat()
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert (stopped(network), len(stops(network))) == ([False], 1)


def test_an_attempt_whose_node_is_not_heard_is_told_again(database, network, sweep):
    cancelled(network)
    long_ago(network)
    network.heartbeat(node="node-2")
    assert sweep.sweep(database, after(0)) == 1
    assert (stopped(network), len(stops(network))) == ([False], 1)


def test_an_attempt_that_its_node_named_is_told_again(database, network, sweep):
    (attempt,) = cancelled(network)
    network.heartbeat(attempt)
    long_ago(network)
    network.heartbeat()
    assert sweep.sweep(database, after(0)) == 1
    assert (stopped(network), len(stops(network))) == ([False], 1)


def test_the_pause_doubles_until_the_deadline(database, network, sweep):
    cancelled(network)
    began = now = after(0)
    told = []
    while now < began + timedelta(seconds=2 * DEADLINE):
        if sweep.sweep(database, now):
            told.append((now - began).total_seconds())
        network.send()
        now += timedelta(seconds=1)
    assert 4 <= len(told) <= 7
    assert all(later >= 2 * earlier - 2 for earlier, later in pairwise(told))
    assert told[-1] < DEADLINE


def test_a_poke_that_waits_for_the_broker_is_enough(database, network, sweep):
    cancelled(network)
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert sweep.sweep(database, after(AGE * 10)) == 0


def test_a_sweep_ends_though_its_pokes_are_sent_at_once(database, network, sweep):
    attempts = cancelled(network, 5)
    sent = []

    def run(database, now, limit):
        count = sweep.run(database, now, limit)
        sent.extend(stops(network))
        return count

    assert Sweep(sweep.name, sweep.period, sweep.batch, run).sweep(database, after(AGE + 1)) == 5
    assert sorted(sent) == sorted(map(stop, attempts))


def test_attempts_that_ended_otherwise_are_left_alone(database, network, sweep):
    done, failed, given_back = network.register(3)
    network.run(done)
    network.fail(network.claim(failed).attempt, pb.ERROR_TYPE_EXECUTION)
    network.release(network.claim(given_back).attempt)
    (other,) = network.register(plan=network.new_plan())
    network.end(other, pb.TASK_ACTION_EXECUTING)
    network.end(other, pb.TASK_ACTION_CANCELED)
    network.send()
    assert sweep.sweep(database, after(AGE + 1)) == 0


def test_a_batch_is_bounded(database, network, sweep):
    cancelled(network, 3)
    assert sweep.run(database, after(AGE + 1), sweep.batch) == 2
    assert sweep.run(database, after(AGE + 1), sweep.batch) == 1


def test_two_sweeps_at_once_tell_each_once(database, network, sweep):
    attempts = cancelled(network, 20)
    now = after(AGE + 1)
    counts = at_once(*[lambda: sweep.run(database, now, 100)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 20
    assert sorted(stops(network)) == sorted(map(stop, attempts))


def test_a_locked_attempt_is_passed_over(database, network, sweep):
    held, free = cancelled(network, 2)
    with network.locked("attempts", "task_key = CAST(:key AS uuid)", key=held.compute_task_key):
        assert sweep.sweep(database, after(AGE + 1)) == 1
    assert stops(network) == [stop(free)]


def test_the_poke_names_the_attempt_that_ran(database, network, sweep):
    (task,) = network.register()
    network.release(network.claim(task).attempt)
    second = network.claim(task).attempt
    network.send()
    network.cancel()
    assert network.send() == [outbox.Poke("stop", "org-1", task, second.number)]
    assert second.number == 2
