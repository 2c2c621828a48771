"""What follows the fault of an attempt: another one after a pause, or the end of the task; without the wire between."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.compute import failure_reports
from orchestrator.engine.retries import DEFAULT_BACKOFF
from orchestrator.engine.sweeps import due_retries
from tests.integration.attempts import seconds
from tests.kit import messages
from tests.kit.member import Member, after, made, refused


def to_do_again(network: Member) -> None:
    """End the pauses."""
    made(due_retries, network.database).sweep(network.database, after(3600))


def test_a_fault_of_the_function_fails_the_task_with_a_report(network):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    answer = network.fail(attempt, pb.ERROR_TYPE_EXECUTION)
    assert not answer.HasField("retry_after")
    assert network.word(task) == "Failed"
    assert network.failed()
    report = network.call(failure_reports.get, pb.GetFailureReportParam(asset_key=str(task)))
    assert (report.error_type, report.logs_address) == (pb.ERROR_TYPE_EXECUTION, messages.address())
    assert network.attempts(task)[0].fault == "execution"
    before = network.snapshot(task)
    assert network.fail(attempt, pb.ERROR_TYPE_EXECUTION) == answer
    assert network.snapshot(task) == before
    with refused("OE0104"):
        network.fail(attempt, pb.ERROR_TYPE_BUILD)


APART = timedelta(seconds=0.1)
"""How far the server's idea of the database's time may be from the clock here."""


def test_a_fault_that_the_policy_retries_is_followed_by_a_pause(network):
    (task,) = network.register()
    network.send()
    attempt = network.claim(task).attempt
    began = datetime.now(UTC)
    answer = network.fail(attempt)
    assert DEFAULT_BACKOFF / 2 <= seconds(answer.retry_after) <= DEFAULT_BACKOFF
    row = network.row(task)
    assert -APART <= row.due_at - began - answer.retry_after.ToTimedelta() < timedelta(seconds=5)
    assert (network.word(task), network.failed(), network.send()) == ("To do", False, [])
    word, reason = network.history(task)[-1]
    assert (word, reason.startswith("attempt 1 ended (internal)"), "may begin in" in reason) == ("To do", True, True)
    with refused("OE0002"):
        network.call(failure_reports.get, pb.GetFailureReportParam(asset_key=str(task)))


def test_the_reason_that_a_worker_gives_is_in_the_events(network):
    (task,) = network.register(metadata={"orchestrator.retry.internal.attempts": "2"})
    why = "the model 1 is registered at 'https://another', …"
    network.fail(network.claim(task).attempt, reason=why)
    word, reason = network.history(task)[-1]
    assert (word, reason.startswith(f"attempt 1 ended (internal): {why}; the next may begin in")) == ("To do", True)
    to_do_again(network)
    attempt = network.claim(task).attempt
    for bad in ("x" * 1001, "\0"):
        with refused("OE0101", "reason"):
            network.fail(attempt, reason=bad)
    network.fail(attempt, reason="x" * 1000)
    assert network.history(task)[-1] == ("Failed", f"attempt 2: internal error: {'x' * 1000}")


@pytest.mark.parametrize("most", ["2", "9"])
def test_a_fault_told_again_says_again_that_the_task_is_retried(network, most):
    # Of two it is the last but one: counted twice, it would be the last.
    (task,) = network.register(metadata={"orchestrator.retry.internal.attempts": most})
    attempt = network.claim(task).attempt
    first = network.fail(attempt)
    before = network.snapshot(task)
    again = network.fail(attempt)
    assert timedelta() < again.retry_after.ToTimedelta() <= first.retry_after.ToTimedelta()
    assert network.snapshot(task) == before
    to_do_again(network)
    network.claim(task)
    late = network.fail(attempt)
    assert late.HasField("retry_after")
    assert seconds(late.retry_after) == 0
    assert network.word(task) == "Doing"


def test_after_as_many_faults_as_the_policy_says_the_task_is_failed(network):
    (task,) = network.register(metadata={"orchestrator.retry.execution.attempts": "3"})
    for number in (1, 2):
        assert network.fail(network.claim(task, number).attempt, pb.ERROR_TYPE_EXECUTION).HasField("retry_after")
        to_do_again(network)
    assert not network.fail(network.claim(task, 3).attempt, pb.ERROR_TYPE_EXECUTION).HasField("retry_after")
    assert network.word(task) == "Failed"
    assert [row.fault for row in network.attempts(task)] == ["execution"] * 3


def test_each_kind_of_fault_is_counted_on_its_own(network):
    metadata = {f"orchestrator.retry.{kind}.attempts": "2" for kind in ("build", "execution", "internal", "timeout")}
    (task,) = network.register(metadata=metadata)
    for error_type, timed_out in (
        (pb.ERROR_TYPE_BUILD, False),
        (pb.ERROR_TYPE_EXECUTION, False),
        (pb.ERROR_TYPE_INTERNAL, False),
        (pb.ERROR_TYPE_EXECUTION, True),
    ):
        assert network.fail(network.claim(task).attempt, error_type, timed_out).HasField("retry_after")
        to_do_again(network)
    assert [row.fault for row in network.attempts(task)] == ["build", "execution", "internal", "timeout"]
    network.fail(network.claim(task).attempt, pb.ERROR_TYPE_EXECUTION, timed_out=True)
    assert network.word(task) == "Failed"


def test_a_time_out_is_not_retried_unless_somebody_says_so(network):
    (plain,) = network.register()
    assert not network.fail(network.claim(plain).attempt, pb.ERROR_TYPE_EXECUTION, timed_out=True).HasField(
        "retry_after"
    )
    assert (network.word(plain), network.attempts(plain)[0].fault) == ("Failed", "timeout")


def test_the_pause_is_the_tasks_or_the_plans(network):
    plan = network.new_plan(metadata={"orchestrator.retry.backoff": "100", "orchestrator.retry.cap": "40"})
    (by_plan,) = network.register(plan=plan)
    (by_task,) = network.register(plan=plan, metadata={"orchestrator.retry.cap": "10"})
    assert 20 <= seconds(network.fail(network.claim(by_plan).attempt).retry_after) <= 40
    assert 5 <= seconds(network.fail(network.claim(by_task).attempt).retry_after) <= 10


def test_nothing_is_retried_for_a_plan_that_has_failed(network):
    running, failing = network.register(2)
    attempt = network.claim(running).attempt
    network.end(failing, pb.TASK_ACTION_FAILED)
    assert not network.fail(attempt).HasField("retry_after")
    assert network.word(running) == "Failed"


@pytest.mark.parametrize(
    "metadata",
    [
        {"orchestrator.retry.lost.attempts": "0"},
        {"orchestrator.time_limit": "soon"},
        {"orchestrator.retry.attempts": "1"},
    ],
)
def test_metadata_that_mean_nothing_are_refused_when_they_are_registered(network, metadata):
    (name,) = metadata
    with refused("OE0101", name):
        network.new_plan(metadata=metadata)
    with refused("OE0101", name):
        network.register(metadata=metadata)
