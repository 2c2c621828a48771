"""The event stream: in order, once, and resumed after any event without gap or repeat."""

from functools import partial

import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk, Listener

MODEL = 5


def test_all_that_happens_to_a_task_is_told_once_and_resumes_anywhere(desk: Desk):
    desk.present()
    with Listener(desk) as live:
        task = desk.submit()
        desk.finish(app_requirements=pb.AppRequirements(app_requirements=["a", "b"]))
        wait_until(
            lambda: any(data.get("status") == "SUCCEEDED" and "failed_stage" in data for _, _, data in live.events)
        )
    ours = [each for each in live.events if each[2].get("task_id") == task]
    positions = [position for position, _, _ in live.events]
    assert positions == sorted(set(positions))
    outputs = [data for _, name, data in ours if name == "stage.output"]
    assert sorted(data["kind"] for data in outputs) == sorted(KINDS)
    (app,) = [data["output"] for data in outputs if data["kind"] == "APP_REQUIREMENTS"]
    assert app["app_requirements"] == "a, b"
    for kind in KINDS:
        states = [d["status"] for _, name, d in ours if name == "stage.status" and d["kind"] == kind]
        assert states[-2:] == ["RUNNING", "SUCCEEDED"]
    tasks = [data["status"] for _, name, data in ours if name == "task.status"]
    assert tasks == ["WAITING", "RUNNING", "SUCCEEDED"]
    assert all("at" in data for _, _, data in live.events)
    for cut in (0, len(ours) // 2, len(ours) - 2):
        with Listener(desk, ours[cut][0], problem_id=task["problem_id"]) as resumed:
            wait_until(partial(resumed.has, len(ours) - cut - 1))
        assert resumed.events == ours[cut + 1 :]


def test_from_the_beginning_and_filtered(desk: Desk):
    desk.present()
    task = desk.submit()
    desk.finish()
    query = {"problem_id": task["problem_id"], "iteration_id": 1, "type": "task.status,stage.output"}
    with Listener(desk, 0, **query) as old:
        wait_until(lambda: len(old.events) >= 9)
    assert {name for _, name, _ in old.events} == {"task.status", "stage.output"}
    assert {data["task_id"]["problem_id"] for _, _, data in old.events} == {task["problem_id"]}
    with Listener(desk, 0, type="node.status") as nodes:
        wait_until(lambda: len(nodes.events) >= 6)
    assert {"kind", "replica", "status", "before", "reason"} <= nodes.events[0][2].keys()


@pytest.mark.parametrize(
    ("query", "position", "status"),
    [
        ({"type": "nothing"}, None, 400),
        ({"problem_id": "0"}, None, 400),
        ({"iteration_id": "x"}, None, 400),
        ({}, "x", 400),
        ({}, "-1", 400),
        ({}, str(10**15), 404),
    ],
)
def test_what_cannot_be_followed_is_refused(desk: Desk, query: dict[str, str], position: str | None, status: int):
    headers = {} if position is None else {"Last-Event-ID": position}
    answer = desk.get("/api/events", params=query, headers=headers)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_only_asking_for_its_head_ends(desk: Desk):
    assert desk.http.head("/api/events").headers["content-type"].startswith("text/event-stream")
