"""One answer in twenty is lost after its call was done, while a plan is cancelled; tests/acceptance has the rest."""

import pytest

from orchestrator.calls.loss import VARIABLE
from tests.kit.waiting import wait_until

SHARE = 0.05


@pytest.fixture
def lossy(stage):
    server = stage.service("serve")
    assert server.environment is not None
    assert lost(stage) == 0
    server.environment[VARIABLE] = str(SHARE)
    stage.kill("serve")
    stage.restore()
    yield stage
    del server.environment[VARIABLE]
    stage.kill("serve")


def lost(stage) -> int:
    """Return how many answers were lost so far."""
    return sum("answer.lost" in line for line in stage.service("serve").log_lines())


def test_a_cancelled_plan_ends(lossy):
    plan = lossy.plan(1, 1, lossy.long)
    wait_until(lambda: plan.states()["EXECUTING"] >= 3, 60, "tasks to run")
    lossy.client().cancel(plan.plan)
    plan.wait()
    wait_until(lambda: not plan.running(), 30, "all functions to have been ended")
    wait_until(lambda: all(receipt.HasField("stopped") for receipt in plan.receipts()), 30, "all nodes to say so")
    assert lossy.violations() == []
    assert lost(lossy) > 0
