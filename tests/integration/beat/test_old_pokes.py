"""The sweep of old pokes, with a clock of its own."""

import pytest

from orchestrator import protos as pb
from orchestrator.engine.sweeps import old_pokes
from orchestrator.store.sweep import Sweep
from tests.kit.member import Member, after, at_once, made

DAY = 86_400.0


@pytest.fixture
def sweep(database) -> Sweep:
    return made(old_pokes, database, poke_retention=DAY)


def sent(network: Member, count: int) -> None:
    network.execute("TRUNCATE outbox, unsent_pokes, sent_pokes")
    tasks = network.register(count)
    assert len(network.send()) == count
    for task in tasks:
        network.claim(task)


def left(network: Member) -> int:
    return network.rows("SELECT count(*) FROM outbox")[0][0]


def test_pokes_are_forgotten_after_a_while(database, network, sweep):
    sent(network, 5)
    assert sweep.sweep(database, after(DAY - 60)) == 0
    assert left(network) == 5
    assert sweep.sweep(database, after(DAY + 60)) == 5
    assert left(network) == 0


def test_pokes_that_were_not_sent_are_kept_for_ever(database, network, sweep):
    sent(network, 1)
    (task,) = network.register()
    assert sweep.sweep(database, after(1000 * DAY)) == 1
    assert [poke.key for poke in network.send()] == [task]


def test_one_that_is_not_claimed_is_kept_as_long_as_its_task_waits(database, network, sweep):
    sent(network, 1)
    waiting, taken = network.register(2)
    network.send()
    network.claim(taken)
    assert sweep.sweep(database, after(2 * DAY)) == 2
    assert left(network) == 1
    network.end(waiting, pb.TASK_ACTION_CANCELED)
    assert sweep.sweep(database, after(2 * DAY)) > 0
    assert left(network) == 0


def test_a_batch_is_bounded(database, network, sweep):
    sent(network, 5)
    assert sweep.run(database, after(2 * DAY), sweep.batch) == 2
    assert left(network) == 3


def test_two_sweeps_at_once_take_each_once(database, network, sweep):
    sent(network, 30)
    now = after(2 * DAY)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 30
    assert left(network) == 0


def test_a_locked_poke_is_passed_over(database, network, sweep):
    sent(network, 2)
    with network.locked("outbox", "id = (SELECT min(id) FROM outbox)"):
        assert sweep.sweep(database, after(2 * DAY)) == 1
    assert left(network) == 1
