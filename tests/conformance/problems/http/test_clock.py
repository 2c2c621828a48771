"""A server whose machine's clock jumps by hours, ahead and back, while tasks run and clients wait."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from orchestrator.embedded.postgres import Postgres
from orchestrator.problems import graph
from tests.kit.clocks import Jumping, faked
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk, Listener, desk_on


def hours_off(desk: Desk) -> int:
    """How far the server's own idea of the time is off."""
    said = parsedate_to_datetime(desk.get("/").headers["date"])
    return round((said - datetime.now(UTC)) / timedelta(hours=1))


@pytest.mark.timeout(180)
def test_a_clock_that_jumps_ends_no_wait_and_loses_nothing(postgres: Postgres, tmp_path: Path) -> None:
    database = postgres.create_database(f"clock_{uuid.uuid4().hex}")
    with faked() as library:
        clock = Jumping(library, tmp_path)
        with desk_on(tmp_path, database, environment=clock.environment, PROBLEMS_LONGEST_WAIT="60") as desk:
            begun = datetime.now(UTC)
            modules = desk.present()
            tasks = [desk.submit({"time_limit": 600}) for _ in range(2)]
            waiting = [desk.later("/results", {"node_id": 9, "task_id": task}) for task in tasks]
            with Listener(desk) as events:
                for number, offset in enumerate(("+5h", "-5h", "+0s")):
                    claimed = modules[number * 2].take()
                    clock.jump(offset)
                    wait_until(lambda hours=int(offset[:2]): hours_off(desk) == hours, 20)
                    assert desk.get("/api/nodes").json()["nodes"][number * 2]["status"] == "RUNNING"
                    assert not any(each.done() for each in waiting), waiting
                    before = time.monotonic()
                    assert desk.result(tasks[0], 1, wait=0.5).status_code == 504
                    assert time.monotonic() - before < 30
                    for module in modules.values():
                        module.report()
                    modules[number * 2].complete(claimed.attempt)
                desk.finish()
                answers = [each.result(30).json() for each in waiting]
            assert [set(answer) for answer in answers] == [{*KINDS, "task_id"}] * 2
            assert any(event == "stage.output" for _, event, _ in events.events)
            ended = datetime.now(UTC)
            for task in tasks:
                shown = desk.iteration(task)
                assert (shown["status"], shown["run"]) == ("SUCCEEDED", 1)
                assert [stage["attempt"] for stage in shown["stages"]] == [1] * len(graph.KINDS)
                for stage in shown["stages"]:
                    times = [datetime.fromisoformat(stage[name]) for name in ("queued_at", "started_at", "ended_at")]
                    # The database's clock, which is this machine's, and not the one that jumped.
                    slack = timedelta(seconds=1)
                    assert times == sorted(times), stage
                    assert begun - slack <= times[0] <= times[-1] <= ended + slack, stage
