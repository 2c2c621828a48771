"""The sweep of old attempts, with a clock of its own."""

import pytest

from orchestrator import protos as pb
from orchestrator.engine.sweeps import old_attempts
from orchestrator.engine.transaction import Database
from orchestrator.store.sweep import Sweep
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made, refused

DAY = 86_400.0


@pytest.fixture
def sweep(database: Database) -> Sweep:
    return made(old_attempts, database, attempt_retention=DAY, stop_deadline=10 * DAY)


def left(network: Member) -> int:
    return int(network.rows("SELECT count(*) FROM attempts")[0][0])


def test_attempts_are_forgotten_when_their_task_has_ended_long_ago(database: Database, network: Member, sweep: Sweep):
    for task in network.register(5):
        network.run(task)
    assert sweep.sweep(database, after(DAY - 60)) == 0
    assert left(network) == 5
    assert sweep.run(database, after(DAY + 60), sweep.batch) == 2
    assert sweep.sweep(database, after(DAY + 60)) == 3
    assert left(network) == 0


def test_nothing_is_forgotten_unless_it_is_asked_for(database: Database):
    assert made(old_attempts, database) is None


def test_attempts_of_a_task_are_forgotten_together(database: Database, network: Member, sweep: Sweep):
    (task,) = network.register()
    network.release(network.claim(task).attempt)
    network.execute("UPDATE attempts SET ended_at = ended_at - interval '10 days'")
    network.run(task)
    assert sweep.sweep(database, after(DAY - 60)) == 0
    assert left(network) == 2
    assert sweep.sweep(database, after(DAY + 60)) == 1
    assert left(network) == 0


def test_attempts_of_a_task_that_goes_on_are_kept(database: Database, network: Member, sweep: Sweep):
    again, running = network.register(2)
    network.release(network.claim(again).attempt)
    network.claim(running)
    assert sweep.sweep(database, after(1000 * DAY)) == 0
    assert left(network) == 2


def test_an_attempt_is_kept_until_its_node_has_stopped_it(database: Database, network: Member, sweep: Sweep):
    stopped, silent = network.register(2)
    attempt = network.claim(stopped).attempt
    network.claim(silent)
    network.cancel()
    network.heartbeat(stopped=[attempt])
    assert sweep.sweep(database, after(2 * DAY)) == 1
    assert [receipt.compute_task_key for receipt in network.receipts()] == [str(silent)]
    assert sweep.sweep(database, after(9 * DAY)) == 0
    assert sweep.sweep(database, after(11 * DAY)) == 1
    assert network.receipts() == []


def test_an_attempt_whose_own_report_failed_the_task_is_not_waited_for(
    database: Database, network: Member, sweep: Sweep
):
    (task,) = network.register()
    network.fail(network.claim(task).attempt, pb.ERROR_TYPE_EXECUTION)
    assert network.word(task) == "Failed"
    assert sweep.sweep(database, after(2 * DAY)) == 1


def test_late_words_about_a_forgotten_attempt_change_nothing(database: Database, network: Member, sweep: Sweep):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    model = messages.new_model(str(task))
    network.complete(attempt, model)
    network.complete(attempt, model)
    sweep.sweep(database, after(2 * DAY))
    before = network.snapshot(task)
    with refused("OE0104", "does not hold"):
        network.complete(attempt, model)
    with refused("OE0104"):
        network.fail(attempt)
    with refused("OE0104"):
        network.release(attempt)
    told = network.heartbeat(attempt)
    assert [(stop.compute_task_key, stop.reason) for stop in told.stops] == [(str(task), "the task is Done")]
    network.heartbeat(stopped=[attempt])
    assert network.snapshot(task) == before


def test_two_sweeps_at_once_take_each_once(database: Database, network: Member, sweep: Sweep):
    for task in network.register(20):
        network.run(task)
    now = after(2 * DAY)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) + sweep.sweep(database, now) == 20
    assert left(network) == 0


def test_a_locked_attempt_is_passed_over(database: Database, network: Member, sweep: Sweep):
    first, second = network.register(2)
    network.run(first)
    network.run(second)
    with network.locked("attempts", "task_key = :key", key=first):
        assert sweep.sweep(database, after(2 * DAY)) == 1
    assert len(network.attempts(first)) == 1
