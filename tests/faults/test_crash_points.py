"""A process that dies at a named point of its work loses nothing and doubles nothing."""

import contextlib
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.client import PUBLIC, CallError
from orchestrator.core import crash
from orchestrator.embedded.processes import Process
from tests.faults import monkeys
from tests.faults.monkeys import Chosen
from tests.kit.followed import Followed
from tests.kit.stage import ORGANIZATIONS, Stage, insist
from tests.kit.waiting import wait_until

ROUNDS, WIDTH = 2, 2


def around(method: str, times: int) -> tuple[str, str]:
    """Return the points before and after the commit of a call of the server."""
    return f"server.before_commit.{method}:{times}", f"server.after_commit.{method}:{times}"


@contextlib.contextmanager
def mortal(stage: Stage, name: str) -> Iterator[Process]:
    """Give a process that may be told where to die; it is as it was after the block."""
    process = stage.service(name)
    try:
        yield process
    finally:
        if process.environment and process.environment.pop(crash.VARIABLE, None):
            begin_again(stage, name)


def begin_again(stage: Stage, name: str, point: str | None = None) -> None:
    """Start a process that dies at a point, or nowhere."""
    process = stage.service(name)
    if process.alive:
        stage.kill(name)
    assert process.environment is not None
    process.environment.pop(crash.VARIABLE, None)
    if point:
        process.environment[crash.VARIABLE] = point
    stage.start(name)


@contextlib.contextmanager
def busy(stage: Stage, function=None) -> Iterator[list[Followed]]:
    """Submit a plan whenever the one before has ended, so that no point is waited for where no work is left.

    After the block its list holds what was submitted.
    """
    plans: list[Followed] = []
    enough = threading.Event()

    def submit() -> None:
        while not enough.is_set():
            plans.append(stage.plan(ROUNDS, WIDTH, function, extended=True))
            while not plans[-1].over and not enough.wait(0.1):
                pass

    with ThreadPoolExecutor(1) as threads:
        submitted = threads.submit(submit)
        try:
            yield plans
        finally:
            enough.set()
        submitted.result()


def check(stage: Stage, *plans: Followed) -> None:
    for plan in plans:
        plan.wait()
        assert plan.faults() == []
    assert stage.violations() == []


RELAY = ("relay.before_send:2", "relay.before_mark:2")
SEQUENCER = ("sequencer.before_commit:3", "sequencer.after_commit:3")


@pytest.mark.parametrize(
    ("frail", "points"),
    [
        pytest.param(
            True,
            [
                *around("SubmitPlan", 1),
                *around("RegisterTasks", 1),
                *around("Heartbeat", 2),
                *around("FailTask", 2),
            ],
            id="registration and failure",
        ),
        pytest.param(
            False,
            [*around("ClaimAgreed", 3), *around("CompleteTask", 3), *RELAY, *SEQUENCER],
            id="run, relay and sequencer",
        ),
    ],
)
def test_the_server_may_die_anywhere(stage, frail, points):
    with mortal(stage, "serve") as server:
        begin_again(stage, "serve", points[0])
        with busy(stage, stage.frail if frail else stage.brief) as plans:
            for point, following in zip(points, [*points[1:], None], strict=True):
                wait_until(lambda: not server.alive, 60, f"the server to die at {point}")
                begin_again(stage, "serve", following)
    check(stage, *plans)


def test_the_server_may_die_when_it_is_told_to_cancel(stage):
    plan = stage.plan(1, 1, stage.long)
    wait_until(lambda: plan.states()["EXECUTING"] >= 3, 60, "tasks to run")
    before, after = around("ApplyPlanAction", 1)
    with mortal(stage, "serve") as server, ThreadPoolExecutor(1) as threads:
        begin_again(stage, "serve", before)
        cancelled = threads.submit(insist, lambda: cancel(stage, plan))
        for point, following in ((before, after), (after, None)):
            wait_until(lambda: not server.alive, 60, f"the server to die at {point}")
            begin_again(stage, "serve", following)
        cancelled.result()
    plan.wait()
    assert set(plan.states()) == {"CANCELED"}
    wait_until(lambda: not plan.running(), 30, "all functions to have been ended")
    assert stage.violations() == []


def cancel(stage, plan) -> None:
    """Cancel a plan, whether or not an earlier try whose answer was lost has done so."""
    try:
        stage.client().cancel(plan.plan)
    except CallError as error:
        if error.oe_code != "OE0109":
            raise


def test_a_worker_may_die_anywhere(stage):
    name = "worker-org-a"
    with mortal(stage, name) as worker, busy(stage) as plans:
        for point in ("claimed", "before_run", "ran", "stored", "before_report", "reported"):
            begin_again(stage, name, f"worker.{point}")
            # Its log says so as soon as it has noticed.
            wait_until(lambda: died(worker), 60, f"a process of the pool to die at worker.{point}")
    check(stage, *plans)


def test_a_worker_may_die_between_disabling_a_model_and_deleting_its_file(stage):
    """Its agent deletes the file; the broker need not give the message again."""
    name, transient = "worker-org-a", pb.NewComputeTaskOutput(permissions=PUBLIC, transient=True)
    built = stage.client().plan("a model for a while")
    parent = built.task(function=stage.brief, worker="org-a", outputs={"model": transient})
    built.task(function=stage.brief, worker="org-b", inputs={"models": [parent]}, outputs={"model": PUBLIC})
    with mortal(stage, name) as worker:
        begin_again(stage, name, "worker.outputs_disabled")
        stage.submit(built)
        plan = Followed(stage, built)
        wait_until(lambda: died(worker), 60, "a process of the pool to die at worker.outputs_disabled")
        asked = pb.GetComputeTaskModelsParam(compute_task_key=parent.key)
        (model,) = stage.client().models.GetComputeTaskOutputModels(asked).models
        assert not model.HasField("address")
        store, file = stage.network.store("org-a"), f"models/{model.key}"
        wait_until(lambda: not store.exists(file), 30, "the file to be deleted")
    check(stage, plan)


def test_an_agent_may_die_anywhere(stage):
    """Its supervisor starts it again, and it dies there again: at the second cleanup, or at the third beat."""
    endless = stage.plan(1, 2, stage.long)
    with contextlib.ExitStack() as workers:
        for name in ORGANIZATIONS:
            workers.enter_context(mortal(stage, f"worker-{name}"))
        begin_again(stage, "worker-org-a", "agent.before_report:2")
        begin_again(stage, "worker-org-b", "agent.beaten:3")
        begin_again(stage, "worker-org-c", "agent.reported:2")
        plan = stage.plan(ROUNDS, WIDTH)
        await_death_of_agent(stage, "org-a")
        begin_again(stage, "worker-org-a", "agent.before_beat:3")
        for name in reversed(ORGANIZATIONS):
            await_death_of_agent(stage, name)
        stage.client().cancel(endless.plan)
        wait_until(lambda: not endless.running(), 30, "all functions to have been ended")
        wait_until(lambda: all(each.HasField("stopped") for each in endless.receipts()), 60, "all nodes to say so")
        assert endless.receipts()
    endless.wait()
    check(stage, plan)


def await_death_of_agent(stage: Stage, organization: str) -> None:
    """Wait until a worker has noticed that its agent has died, and give that agent something to clean up meanwhile."""
    worker, chance = stage.service(f"worker-{organization}"), Chosen(organization)

    def dead() -> bool:
        if any("agent.died" in line for line in worker.log_lines()):
            return True
        if worker.environment and "beat" not in worker.environment[crash.VARIABLE]:
            monkeys.kill_busy_child(stage, chance)
        return False

    wait_until(dead, 60, f"the agent of {organization} to die", interval=1.0)


def test_a_sweep_may_die_anywhere(stage):
    with mortal(stage, "beat") as beat:
        endless = stage.plan(1, 1, stage.long)
        wait_until(lambda: len(endless.running()) == 3, 30, "long tasks to run")
        plan = stage.plan(ROUNDS, WIDTH)
        points = [
            "sweep.expired_leases.before",
            "sweep.between",
            "sweep.expired_leases.after",
            "sweep.lost_pokes.before",
            "sweep.lost_pokes.after",
            "sweep.due_retries.after",
        ]
        # Before there is something to sweep: an earlier beat would leave nothing.
        begin_again(stage, "beat", points[0])
        stage.service("worker-org-b").stop()
        monkeys.flush_broker(stage, random.Random())
        for point, following in zip(points, [*points[1:], None], strict=True):
            wait_until(lambda: died(beat), 60, f"a process of the pool to die at {point}")
            begin_again(stage, "beat", following)
        stage.start("worker-org-b")
    stage.client().cancel(endless.plan)
    endless.wait()
    check(stage, plan)


def died(worker: Process) -> bool:
    """Say whether a Celery worker has noticed that a process of its pool was killed."""
    return psutil.pid_exists(worker.pid) and any(
        f"signal {signal.SIGKILL.value}" in line for line in worker.log_lines()
    )
