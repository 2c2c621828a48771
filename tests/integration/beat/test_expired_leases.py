"""The sweep of expired leases, with a clock of its own."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.compute import failure_reports
from orchestrator.core.pokes import RUN_TASK
from orchestrator.core.rules import Rules
from orchestrator.engine import outbox
from orchestrator.engine.retries import DEFAULT_ATTEMPTS, DEFAULT_BACKOFF, FaultKind
from orchestrator.engine.sweeps import due_retries, expired_leases
from orchestrator.store.sweep import Sweep
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made, refused

LEASE = Rules().lease.total_seconds()
LOST = LEASE + 1
MOST = DEFAULT_ATTEMPTS[FaultKind.LOST]


@pytest.fixture
def sweep(database) -> Sweep:
    return made(expired_leases, database)


def lose(network: Member, sweep: Sweep, task, number: int) -> pb.Attempt:
    """Claim a task whose pause is over, and let the lease run out."""
    made(due_retries, network.database).sweep(network.database, after(3600))
    attempt = network.claim(task, number).attempt
    assert sweep.sweep(network.database, after(LOST)) == 1
    return attempt


def test_a_lost_attempt_is_followed_by_a_pause_and_another_attempt(database, network, sweep):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    network.send()
    before = datetime.now(UTC)
    assert sweep.sweep(database, after(LOST)) == 1
    row = network.row(task)
    assert network.word(task) == "To do"
    assert row.token_hash is None
    assert (row.due_at - before).total_seconds() >= DEFAULT_BACKOFF / 2
    assert (row.due_at - datetime.now(UTC)).total_seconds() <= DEFAULT_BACKOFF
    assert not network.send()
    (ended,) = network.attempts(task)
    assert (ended.number, ended.outcome, ended.fault) == (attempt.number, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, "lost")
    assert ended.ended_at is not None
    word, reason = network.history(task)[-1]
    assert (word, "attempt 1 ended (lost): worker lost" in reason) == ("To do", True)
    assert sweep.sweep(database, after(10 * LOST)) == 0
    with refused("OE0104", "pause"):
        network.claim(task, 2)
    assert made(due_retries, database).sweep(database, row.due_at) == 1
    assert network.send() == [outbox.Poke(RUN_TASK, "org.org-1", task, 2)]
    assert network.claim(task, 2).attempt.number == 2


def test_a_lease_that_is_not_over_is_left_alone(database, network, sweep):
    (task,) = network.register()
    network.claim(task)
    assert sweep.sweep(database, after(LEASE - 1)) == 0
    assert network.word(task) == "Doing"


def test_a_task_that_killed_its_worker_too_often_is_failed(database, network, sweep):
    (task,) = network.register()
    attempts = [lose(network, sweep, task, number) for number in range(1, MOST + 1)]
    assert network.word(task) == "Failed"
    assert network.failed()
    assert [(row.number, row.fault) for row in network.attempts(task)] == [(n, "lost") for n in range(1, MOST + 1)]
    assert "worker lost" in network.history(task)[-1][1]
    report = network.call(failure_reports.get, pb.GetFailureReportParam(asset_key=str(task)))
    assert (report.error_type, report.owner) == (pb.ERROR_TYPE_INTERNAL, "org-1")
    assert not report.HasField("logs_address")
    before = network.snapshot(task)
    for attempt in attempts:
        with refused("OE0104"):
            network.complete(attempt, messages.new_model(str(task)))
    assert network.snapshot(task) == before
    assert sweep.sweep(database, after(100 * LOST)) == 0


def test_the_number_of_lost_workers_is_the_plans_or_the_tasks(database, network, sweep):
    key = "orchestrator.retry.lost.attempts"
    plan = network.new_plan(metadata={key: "1"})
    (by_plan,) = network.register(plan=plan)
    (by_task,) = network.register(plan=plan, metadata={key: "2"})
    network.claim(by_plan)
    network.claim(by_task)
    assert sweep.sweep(database, after(LOST)) == 2
    assert network.word(by_plan) == "Failed"
    # Its plan has failed meanwhile, or not, by the order of the two; no attempt is begun for a plan that has ended.
    assert network.word(by_task) in ("To do", "Failed")


def test_nothing_is_tried_again_for_a_plan_that_has_failed(database, network, sweep):
    running, failing = network.register(2)
    network.claim(running)
    network.end(failing, pb.TASK_ACTION_FAILED)
    assert sweep.sweep(database, after(LOST)) == 1
    assert network.word(running) == "Failed"


def test_other_faults_do_not_count(database, network, sweep):
    (task,) = network.register(metadata={"orchestrator.retry.internal.attempts": "9"})
    for number in range(1, MOST + 1):
        made(due_retries, database).sweep(database, after(3600))
        network.fail(network.claim(task, number).attempt)
    lose(network, sweep, task, MOST + 1)
    assert network.word(task) == "To do"


def test_a_heartbeat_in_time_keeps_the_attempt(database, network, sweep):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    until = network.attempts(task)[0].lease_until
    network.execute("UPDATE attempts SET lease_until = now() - interval '1 second'")
    network.heartbeat(attempt)
    assert network.attempts(task)[0].lease_until >= until
    assert sweep.sweep(database, after(0)) == 0
    network.complete(attempt, messages.new_model(str(task)))
    assert network.word(task) == "Done"


def test_a_late_report_of_a_lost_attempt_is_refused_and_changes_nothing(database, network, sweep):
    (task,) = network.register()
    lost = network.claim(task).attempt
    sweep.sweep(database, after(LOST))
    for stage in ("To do", "Doing"):
        before = network.snapshot(task)
        assert before[2][-1][0] == stage
        with refused("OE0104", "does not hold"):
            network.complete(lost, messages.new_model(str(task)))
        with refused("OE0104", "does not hold"):
            network.fail(lost)
        with refused("OE0104", "does not hold"):
            network.fail(lost, pb.ERROR_TYPE_EXECUTION)
        with refused("OE0104", "does not hold"):
            network.release(lost)
        assert network.snapshot(task) == before
        (stop,) = network.heartbeat(lost).stops
        assert (stop.compute_task_key, stop.number) == (str(task), 1)
        assert stage in stop.reason
        assert network.row(task) == before[0]
        made(due_retries, database).sweep(database, after(3600))
        if stage == "To do":
            network.claim(task)


def test_an_attempt_without_a_lease_is_not_lost(database, network, sweep):
    (task,) = network.register()
    network.end(task, pb.TASK_ACTION_EXECUTING)
    assert sweep.sweep(database, after(3600 * 24)) == 0
    assert network.word(task) == "Doing"


def test_a_batch_is_bounded_and_a_sweep_takes_all(database, network, sweep):
    tasks = network.register(5)
    for task in tasks:
        network.claim(task)
    assert sweep.run(database, after(LOST), sweep.batch) == 2
    assert network.words(tasks).count("To do") == 2
    assert sweep.sweep(database, after(LOST)) == 3
    assert network.words(tasks) == ["To do"] * 5


def test_the_oldest_go_first(database, network, sweep):
    tasks = network.register(3)
    for task in reversed(tasks):
        network.claim(task)
    sweep.run(database, after(LOST), 2)
    assert network.words(tasks) == ["Doing", "To do", "To do"]


def test_two_sweeps_at_once_end_each_attempt_once(database, network, sweep):
    tasks = network.register(20)
    for task in tasks:
        network.claim(task)
    now = after(LOST)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    # What one holds the other passes over, and may give up for this time.
    assert sum(counts) + sweep.sweep(database, now) == 20
    for task in tasks:
        assert [word for word, _ in network.history(task)] == ["To do", "Doing", "To do"]
        assert len(network.attempts(task)) == 1


@pytest.mark.parametrize("table", ["task_states", "attempts"])
def test_a_locked_row_is_passed_over(database, network, sweep, table):
    held, free = network.register(2)
    network.claim(held)
    network.claim(free)
    column = "key" if table == "task_states" else "task_key"
    with network.locked(table, f"{column} = :key", key=held):
        assert sweep.sweep(database, after(LOST)) == 1
    assert network.words([held, free]) == ["Doing", "To do"]
    assert sweep.sweep(database, after(LOST)) == 1


@pytest.mark.parametrize(("table", "column"), [("task_states", "key"), ("attempts", "task_key"), ("plans", None)])
def test_a_locked_row_is_passed_over_when_the_task_would_fail(database, network, sweep, table, column):
    plan = network.new_plan(metadata={"orchestrator.retry.lost.attempts": "1"})
    (task,) = network.register(plan=plan)
    network.claim(task)
    condition = f"{column} = :key" if column else "key = (SELECT plan_key FROM tasks WHERE key = :key)"
    with network.locked(table, condition, key=task):
        assert sweep.sweep(database, after(LOST)) == 0
        assert network.word(task) == "Doing"
    assert sweep.sweep(database, after(LOST)) == 1
    assert network.word(task) == "Failed"


def test_a_moment_later_is_too_late(database, network, sweep):
    (task,) = network.register()
    network.claim(task)
    (row,) = network.attempts(task)
    assert sweep.sweep(database, row.lease_until) == 0
    assert sweep.sweep(database, row.lease_until + timedelta(microseconds=1)) == 1
