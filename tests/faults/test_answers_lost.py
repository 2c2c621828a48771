"""One answer in twenty is lost after its call was done: who calls asks again, and nothing happens twice."""

import pytest

from orchestrator import protos as pb
from orchestrator.client import PUBLIC
from orchestrator.rpc.loss import VARIABLE
from tests.faults.followed import Followed
from tests.faults.stage import ORGANIZATIONS
from tests.waiting import wait_until

SHARE = 0.05

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def lossy(stage):
    server = stage.service("serve")
    assert server.environment is not None
    server.environment[VARIABLE] = str(SHARE)
    stage.kill("serve")
    stage.restore()
    yield stage
    del server.environment[VARIABLE]
    stage.kill("serve")


def lost(stage) -> int:
    """Return how many answers were lost so far."""
    return sum("answer.lost" in line for line in stage.service("serve").log_lines())


def test_a_plan_of_the_demos_shape_ends_right(lossy):
    function = lossy.function(0.05)
    assert function.status == pb.FUNCTION_STATUS_READY
    plan = lossy.plan(12, 2, function)
    plan.wait(90)
    assert plan.faults() == []
    assert plan.attempts() == len(plan.plan.tasks)
    assert lossy.violations() == []
    assert lost(lossy) > 3


@pytest.mark.parametrize(
    ("code", "said"), [("sys.exit(1)", pb.ERROR_TYPE_EXECUTION), ("raise ValueError", pb.ERROR_TYPE_EXECUTION)]
)
def test_a_faulty_function_fails_its_task_with_one_report(lossy, code, said):
    function = lossy.function(0.0, code=code)
    plans = []
    for name in ORGANIZATIONS:
        plan = lossy.client().plan("bad", metadata={"orchestrator.retry.execution.attempts": "1"})
        first = plan.task(function=function, worker=name, outputs={"model": PUBLIC})
        plan.task(function=lossy.brief, worker=name, inputs={"models": [first]}, outputs={"model": PUBLIC})
        lossy.submit(plan)
        plans.append(Followed(lossy, plan))
    for plan in plans:
        plan.wait(60)
        wait_until(lambda plan=plan: plan.states() == {"FAILED": 1, "CANCELED": 1}, 30, f"its end: {plan.states()}")
        asked = pb.GetFailureReportParam(asset_key=plan.plan.tasks[0].key)
        assert lossy.client().failure_reports.GetFailureReport(asked).error_type == said
        assert plan.attempts() == 1
    assert lossy.violations() == []


def test_an_archive_that_is_none_fails_its_function(lossy):
    assert lossy.function(0.0, archive=b"this is no archive").status == pb.FUNCTION_STATUS_FAILED


def test_a_cancelled_plan_ends(lossy):
    plan = lossy.plan(1, 1, lossy.long)
    wait_until(lambda: plan.states()["EXECUTING"] >= 3, 60, "tasks to run")
    lossy.client().cancel(plan.plan)
    plan.wait()
    wait_until(lambda: not plan.running(), 30, "all functions to have been ended")
    wait_until(lambda: all(receipt.HasField("stopped") for receipt in plan.receipts()), 30, "all nodes to say so")
    assert lossy.violations() == []
