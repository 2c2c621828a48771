"""Plans end right whatever is killed, frozen, cut off or full while they run: one monkey at a time, again and again."""

import random
import time

import pytest

from tests.faults import monkeys
from tests.faults.hurt import ends_right
from tests.faults.monkeys import MONKEYS, Monkey
from tests.kit.waiting import wait_until


@pytest.mark.parametrize("monkey", MONKEYS, ids=lambda monkey: monkey.__name__)
def test_a_plan_ends_right_in_spite_of_a_monkey(stage, monkey: Monkey):
    if monkey is monkeys.fill_disk and stage.disk is None:
        pytest.skip("only root can make a small disk (tmpfs)")
    ends_right(stage, monkey)


@pytest.mark.parametrize(
    "monkey", [monkeys.kill_worker, monkeys.kill_server, monkeys.flush_broker, monkeys.cut_network]
)
def test_nothing_runs_after_a_cancellation_in_spite_of_a_monkey(stage, monkey: Monkey):
    chance = random.Random(monkey.__name__)
    plan = stage.plan(1, 2, stage.long)
    wait_until(lambda: plan.states()["EXECUTING"] >= 3, 60, "tasks to run")
    stage.client().cancel(plan.plan)
    cancelled = time.time()
    monkey(stage, chance)
    stage.restore()
    plan.wait()
    wait_until(lambda: not plan.running(), 30, "all functions to have been ended")
    wait_until(lambda: all(receipt.HasField("stopped") for receipt in plan.receipts()), 30, "all nodes to say so")
    assert plan.receipts()
    assert plan.faults(cancelled=cancelled) == []
    assert stage.violations() == []
