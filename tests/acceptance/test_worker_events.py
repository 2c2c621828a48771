"""What workers tell those who look, as Flower does: people's words for tasks, where to read of a failure, no sweeps."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.events.state import State, Task

from orchestrator import protos as pb
from orchestrator.broker import monitor
from orchestrator.core import pokes
from tests.kit.network import Network
from tests.kit.waiting import wait_until


@pytest.fixture
def told() -> dict[str, list[str]]:
    """The types of the events of each poke, in their order."""
    return {}


@pytest.fixture
def seen(network: Network, told: dict[str, list[str]]) -> Iterator[State]:
    """What Flower would know of the two organizations and the maintenance worker."""
    broker = network.federation.places.broker
    accounts = [pokes.MAINTENANCE, *map(pokes.account, network.federation.organizations)]
    app = Celery("onlooker", set_as_current=False)
    app.conf.update(monitor.settings(broker.flower, accounts))
    state, hearing = State(), threading.Event()

    def hear(event: dict[str, Any]) -> None:
        if "uuid" in event:
            told.setdefault(event["uuid"], []).append(event["type"])
        state.event(event)
        # Each worker gives a sign of life every two seconds. What is said before the first one is heard may be missed.
        hearing.set()

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": hear})
        # One subscription to the end: what is said between two is heard by nobody.
        thread = threading.Thread(target=receiver.capture, daemon=True)
        thread.start()
        try:
            assert hearing.wait(60)
            yield state
        finally:
            receiver.should_stop = True
            thread.join(60)
            app.close()


def shown(state: State, key: str, ended: str) -> Task:
    def found() -> Task | None:
        rows = [task for _, task in state.tasks_by_time() if str(task.args).startswith(f"{key[:8]} ")]
        return next((task for task in rows if task.state == ended), None)

    return wait_until(found, timeout=30, message=f"task {key} as {ended}")


def test_a_row_names_the_task_its_function_and_its_plan_and_says_where_to_read(
    network: Network, seen: State, told: dict[str, list[str]]
) -> None:
    works, fails = network.built(network.function()), network.built(network.function("sys.exit(3)"))
    good, bad = network.task(works, worker="org-b"), network.task(fails)
    assert network.ended(good).status == pb.STATUS_DONE
    assert network.ended(bad).status == pb.STATUS_FAILED
    row, plan = shown(seen, good, "SUCCESS"), network.ended(good).compute_plan_key
    assert (row.args, row.kwargs) == (f"{good[:8]} function ({works.key[:8]})", f"{plan[:8]} test")
    assert row.worker.hostname.startswith("org-b@")
    assert shown(seen, works.key, "SUCCESS").args == f"{works.key[:8]} function"
    failed = shown(seen, bad, "FAILURE")
    # Whoever counts them, as Flower does, counts each task once.
    for task, end in ((row, "succeeded"), (failed, "failed")):
        assert told[task.uuid] == ["task-received", "task-started", f"task-{end}"]
    assert "EXECUTION: the function exited with code 3" in failed.exception
    assert f"read its log with `orchestrator task logs {bad[:8]}`" in failed.exception
    # The beat has swept meanwhile, and its worker lives.
    wait_until(
        lambda: any(name.startswith("maintenance@") for name in seen.workers), timeout=60, message="a sign of the beat"
    )
    assert not [task.name for _, task in seen.tasks_by_time() if (task.name or "").startswith("sweep.")]
