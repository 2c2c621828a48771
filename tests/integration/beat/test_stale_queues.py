"""The sweep of stale queues, with a clock of its own."""

from datetime import timedelta

import pytest

from orchestrator.engine.sweeps import silent_nodes, stale_queues
from orchestrator.store.sweep import Sweep
from tests.kit.member import Member, after, at_once, made

DAY = 86_400.0


@pytest.fixture
def sweep(database) -> Sweep:
    return made(stale_queues, database, queue_retention=DAY)


def emptied(network) -> list[str]:
    """The organizations whose queues are to be emptied, by what the outbox holds."""
    return [poke.organization for poke in network.send() if poke.kind == "purge"]


def silent(network, seconds: float) -> None:
    """Let time pass since all nodes were heard."""
    network.execute(
        "UPDATE queues SET heard_at = heard_at - :past, since = since - :past", past=timedelta(seconds=seconds)
    )


def test_a_queue_is_emptied_once_nobody_has_read_it_for_long(database, network, sweep):
    network.heartbeat()
    assert sweep.sweep(database, after(DAY - 60)) == 0
    assert sweep.sweep(database, after(DAY + 60)) == 1
    assert emptied(network) == ["org-1"]


def test_it_is_emptied_again_when_as_much_time_has_passed(database, network, sweep):
    network.heartbeat()
    assert sweep.sweep(database, after(DAY + 60)) == 1
    # A broker that is down holds one up; there is no second.
    assert sweep.sweep(database, after(3 * DAY)) == 0
    network.send()
    assert sweep.sweep(database, after(2 * DAY)) == 0
    assert sweep.sweep(database, after(2 * DAY + 120)) == 1


def test_one_node_that_lives_is_enough(database, network, sweep):
    network.heartbeat(node="node-1")
    silent(network, 2 * DAY)
    network.heartbeat(node="node-2")
    assert sweep.sweep(database, after(60)) == 0


def test_in_whatever_channel_it_is_heard(database, network, sweep):
    network.heartbeat()
    silent(network, 2 * DAY)
    Member(database, channel="other").heartbeat()
    assert sweep.sweep(database, after(60)) == 0


def test_a_queue_of_which_nothing_was_ever_heard_is_left_alone(database, network, sweep):
    network.register(1)
    assert sweep.sweep(database, after(100 * DAY)) == 0


def test_that_the_nodes_are_forgotten_changes_nothing(database, network, sweep):
    network.heartbeat()
    assert made(silent_nodes, database, node_retention=DAY).sweep(database, after(2 * DAY)) == 1
    assert sweep.sweep(database, after(2 * DAY)) == 1


def test_workers_that_send_no_heartbeats_are_believed_to_read_it(database, network, sweep):
    """An organization may go over from our workers to others."""
    network.heartbeat()
    silent(network, 2 * DAY)
    (task,) = network.register(1)
    network.start(task)
    assert sweep.sweep(database, after(60)) == 0
    assert network.rows("SELECT FROM queues") == []


def test_such_a_worker_beside_a_node_that_lives_changes_nothing(network):
    network.heartbeat()
    before = network.rows("SELECT * FROM queues")
    (task,) = network.register(1)
    network.start(task)
    assert network.rows("SELECT * FROM queues") == before


def test_a_batch_is_bounded_and_two_at_once_take_each_once(database, network, sweep):
    for number in range(9):
        Member(database, f"away-{number}").heartbeat()
    now = after(2 * DAY)
    assert sweep.run(database, now, sweep.batch) == 2
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 7
    assert sorted(emptied(network)) == [f"away-{number}" for number in range(9)]


def test_a_node_that_is_heard_just_now_keeps_its_queue(database, network, sweep):
    network.heartbeat()
    with network.locked("queues", "organization = 'org-1'"):
        assert sweep.sweep(database, after(2 * DAY)) == 0
