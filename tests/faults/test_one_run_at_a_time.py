"""A task whose lease ran out is begun again, by its node or another, while its first run has ended or is paused."""

import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.client import PUBLIC
from tests.faults import monkeys
from tests.faults.monkeys import Chosen, Monkey
from tests.kit import runs
from tests.kit.followed import Followed
from tests.kit.stage import ORGANIZATIONS, Stage
from tests.kit.waiting import wait_until

# It does not end when it is asked to: there is a second in which both could run.
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


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
    wait_until(plan.running, 90, "the task to run")
    monkey(stage, Chosen(monkeys.CUT))
    plan.wait()
    assert plan.attempts() > 1
    assert plan.faults() == []
    assert stage.violations() == []


EARLIEST = text("SELECT count(*), min(lease_until) FROM attempts JOIN tasks ON key = task_key WHERE plan_key = :plan")
LIVE = text("SELECT count(*), max(lease_until) FROM attempts JOIN tasks ON key = task_key WHERE plan_key = :plan")
NODES = text(
    "SELECT key, number, node FROM attempts JOIN tasks ON key = task_key WHERE plan_key = :plan ORDER BY number"
)


def one_each(stage: Stage, function: pb.Function) -> Followed:
    """Run a function at each organization; return when all three do."""
    built = stage.client().plan("one at a time")
    for name in ORGANIZATIONS:
        built.task(function=function, worker=name, outputs={"model": PUBLIC})
    stage.submit(built)
    plan = Followed(stage, built)
    wait_until(lambda: len(plan.running()) == len(ORGANIZATIONS), 90, "the tasks to run")
    return plan


def rows(stage: Stage, query, plan: Followed) -> list:
    with stage.database() as database, database.engine.connect() as connection:
        return list(connection.execute(query, {"plan": plan.plan.key}))


def claims(stage: Stage, plan: Followed) -> dict[str, list[str]]:
    """Return the nodes that claimed each task, one after the other."""
    found: dict[str, list[str]] = {}
    for key, _, node in rows(stage, NODES, plan):
        found.setdefault(str(key), []).append(node)
    return found


def begun_again(stage: Stage, held: Mapping[str, list[str]]) -> Mapping[str, float]:
    """Return the tasks of which a run later than some has begun, and when."""
    return {
        word.task: word.time
        for word in runs.read(stage.said)
        if word.word == "start" and word.number > len(held.get(word.task, [])) > 0
    }


def test_two_nodes_never_run_a_task_at_the_same_time(stage):
    harmed = stage.said / "harmed"
    harmed.unlink(missing_ok=True)
    # What runs before would take for ever; what comes after it still runs when that could go on.
    function = stage.function(60.0, code=f"seconds = 4.0 if os.path.exists({str(harmed)!r}) else 60.0")
    cut, partly, wholly = monkeys.CUT, "org-a", "org-c"
    stage.through(cut)
    plan = one_each(stage, function)
    with contextlib.ExitStack() as nodes:
        with contextlib.ExitStack() as harm:
            harm.enter_context(monkeys.cut(stage, cut))
            harm.enter_context(monkeys.frozen(stage, f"worker-{partly}", functions=False))
            harm.enter_context(monkeys.frozen(stage, f"worker-{wholly}", functions=True))
            harmed.touch()
            # From now on they claim nothing, however late their leases were renewed before.
            held = claims(stage, plan)
            nodes.enter_context(stage.second_nodes())
            again = wait_until(
                lambda: len(begun := begun_again(stage, held)) == len(ORGANIZATIONS) and begun, 90, "the next runs"
            )
            latest = max(again.values())
            wait_until(lambda: time.time() > latest + 4 * runs.TOLERANCE_SECONDS, message="an overlap to be noticed")
        plan.wait()
    assert {node for claimed in held.values() for node in claimed} == {"node-1"}
    assert claims(stage, plan) == {key: [*claimed, "node-2"] for key, claimed in held.items()}
    assert plan.faults() == []
    assert stage.violations() == []


def away(stage: Stage, name: str, plan: Followed) -> None:
    """Have a server be away until all leases have been over for a while."""
    ((count, until),) = rows(stage, LIVE, plan)
    stage.kill(name)
    wait_until(lambda: (datetime.now(UTC) - until).total_seconds() > 1.0, 60, "the leases to be over")
    assert count == len(ORGANIZATIONS)
    stage.start(name)


def test_an_absence_of_the_orchestrator_costs_no_attempt(stage):
    plan = one_each(stage, stage.function(24.0))
    for name in ("serve", "postgres"):
        away(stage, name, plan)
        stage.restore()
        wait_until(lambda: renewed(stage, plan), 30, "the leases to be renewed")
    plan.wait()
    assert plan.attempts() == len(ORGANIZATIONS)
    assert plan.faults() == []
    assert stage.violations() == []
    paused = {word.task for word in runs.read(stage.said) if word.word == "pause"}
    assert paused >= {task.key for task in plan.plan.tasks}


def renewed(stage: Stage, plan: Followed) -> bool:
    ((_, until),) = rows(stage, EARLIEST, plan)
    return until > datetime.now(UTC)
