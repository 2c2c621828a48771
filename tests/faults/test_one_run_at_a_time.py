"""A task whose lease ran out while its function went on is not begun again before that function has ended."""

import random

import pytest

from orchestrator.client import PUBLIC
from tests.faults import monkeys
from tests.faults.followed import Followed
from tests.faults.monkeys import Monkey
from tests.waiting import wait_until

# It does not end when it is asked to: there is a second in which both could run.
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def stubborn(whole_stage):
    return whole_stage.function(7.0, code=STUBBORN)


@pytest.mark.parametrize("monkey", [monkeys.cut_network_for_long, monkeys.freeze_part], ids=lambda each: each.__name__)
def test_two_runs_of_a_task_never_overlap_on_a_node(stage, stubborn, monkey: Monkey):
    stage.through(monkeys.CUT)
    built = stage.client().plan("one at a time")
    built.task(function=stubborn, worker=monkeys.CUT, outputs={"model": PUBLIC})
    stage.submit(built)
    plan = Followed(stage, built)
    wait_until(plan.running, 40, "the task to run")
    monkey(stage, Chosen(monkeys.CUT))
    plan.wait(60)
    assert plan.attempts() > 1
    assert plan.faults() == []
    assert stage.violations() == []


class Chosen(random.Random):
    """Chance that has made up its mind about the organization."""

    def __init__(self, organization: str) -> None:
        super().__init__(1)
        self._organization = organization

    def choice(self, options):
        return self._organization if self._organization in options else super().choice(options)
