"""Plans end right whatever is killed, frozen, cut off or full while they run: one monkey at a time, again and again."""

import random
import time
from collections.abc import Iterator

import pytest

from tests.faults import monkeys
from tests.faults.monkeys import MONKEYS, Monkey
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

ROUNDS, WIDTH = 3, 2
HARM_SECONDS = 4.0
STRIKES = 3

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("monkey", MONKEYS, ids=lambda monkey: monkey.__name__)
def test_a_plan_ends_right_in_spite_of_a_monkey(stage, monkey: Monkey):
    if monkey is monkeys.fill_disk and stage.disk is None:
        pytest.skip("only root can make a small disk (tmpfs)")
    ends_right(stage, monkey)


@pytest.fixture(scope="module")
def wide_stage(tmp_path_factory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("wide"), processes=2) as stage:
        yield stage


@pytest.mark.parametrize("monkey", [monkeys.kill_server_process, monkeys.kill_server, monkeys.stop_database])
def test_a_plan_ends_right_in_spite_of_a_monkey_at_a_server_of_two_processes(wide_stage, monkey: Monkey):
    ends_right(wide_stage, monkey)


def ends_right(stage: Stage, monkey: Monkey) -> None:
    """Run a plan beside a monkey, and check all that it promises."""
    chance = random.Random(monkey.__name__)
    plan = stage.plan(ROUNDS, WIDTH)
    wait_until(lambda: plan.begun(1), 30, "the plan to begin")
    strikes, deadline = 0, time.monotonic() + HARM_SECONDS
    while not plan.over and strikes < STRIKES and (strikes == 0 or time.monotonic() < deadline):
        monkey(stage, chance)
        strikes += 1
        time.sleep(0.3)
    assert strikes
    stage.restore()
    plan.wait(90)
    assert plan.faults() == []
    assert stage.violations() == []


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
