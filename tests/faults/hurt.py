"""A plan beside a monkey that strikes again and again, and all that must be true of it in the end."""

import random
import time

from tests.faults.monkeys import Monkey
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

ROUNDS, WIDTH = 2, 2
HARM_SECONDS = 4.0
STRIKES = 3


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
    plan.wait(200)
    assert plan.faults() == []
    assert stage.violations() == []
