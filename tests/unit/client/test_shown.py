"""What a console and a notebook show of the SDK's objects; names of others stay text, whatever is in them."""

import asyncio
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orchestrator.client
from orchestrator import protos as pb
from orchestrator.client import (
    AsyncClient,
    Certificates,
    Check,
    Client,
    Event,
    Explanation,
    Plan,
    Progress,
    Score,
    Scores,
    Watch,
)
from orchestrator.client.messages import Several

NASTY = "<script>alert('x')</script>&\x1b[2J\u202e"
KEY = "0e27b6e1-eb0c-4c5e-9d0a-5b1b2a3c4d5e"
FUNCTION = pb.Function(
    key=KEY,
    name=NASTY,
    inputs={NASTY: pb.FunctionInput(kind=pb.ASSET_MODEL)},
    outputs={NASTY: pb.FunctionOutput(kind=pb.ASSET_MODEL)},
)
MOMENT = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> Plan[None]:
    with Client("127.0.0.1:1", "org-1", "channel") as client:
        plan = client.plan(NASTY, tag=NASTY)
    plan.task(
        function=FUNCTION,
        inputs={NASTY: pb.Model(key=KEY)},
        outputs={NASTY: NASTY},
        worker=NASTY,
        metadata={"a": NASTY},
    )
    return plan


def progress() -> Progress:
    tasks = [pb.ComputeTask(key=str(status), status=status) for status in (pb.STATUS_DONE, pb.STATUS_EXECUTING)]
    return Progress(pb.ComputePlan(key=KEY, name=NASTY), tasks)


def event(asset: object = None, reason: str = NASTY) -> Event:
    return Event(KEY, MOMENT, "updated", asset or pb.ComputeTask(key=KEY, worker=NASTY, status=pb.STATUS_DONE), reason)


def watch() -> Watch:
    begun = Watch(KEY)
    begun.progress.plan = pb.ComputePlan(key=KEY, name=NASTY)
    return begun


SHOWN = {
    "client": lambda plan: Client("127.0.0.1:1", NASTY, NASTY),
    "plan": lambda plan: plan,
    "task": lambda plan: plan.tasks[0],
    "output": lambda plan: plan.tasks[0].model,
    "event": lambda plan: event(),
    "progress": lambda plan: progress(),
    "watch": lambda plan: watch(),
    "scores": lambda plan: Scores([Score(NASTY, NASTY, NASTY, math.nan, NASTY, KEY)]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_text_of_others_is_shown_and_does_nothing(plan: Plan[None], name: str) -> None:
    made = SHOWN[name](plan)
    html, line = made._repr_html_(), repr(made)
    assert "&lt;script&gt;" in html
    assert "<script>" in line
    for told in (html, line):
        assert not {"\x1b", "\u202e"} & set(told)
    assert "<script" not in html
    assert "alert('" not in html


MESSAGES = [
    pb.Function(key=KEY, name=NASTY, status=pb.FUNCTION_STATUS_READY, outputs={NASTY: pb.FunctionOutput()}),
    pb.DataManager(key=KEY, name=NASTY, logs_permission=pb.Permission(authorized_ids=["org-2"])),
    pb.DataSample(key=KEY, owner=NASTY),
    pb.ComputePlan(key=KEY, name=NASTY),
    pb.ComputeTask(key=KEY, worker=NASTY, status=pb.STATUS_DONE),
    pb.Model(key=KEY, owner=NASTY, permissions=pb.Permissions(process=pb.Permission(public=True))),
    pb.Organization(id=NASTY, address="https://store.example"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_a_table_in_a_notebook(message) -> None:
    html = message._repr_html_()
    assert f"<th>{type(message).__name__}</th>" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    several = Several([message, message])._repr_html_()
    assert several.count("<tr>") == 3
    assert "<script" not in several


def test_messages_tell_for_whom_they_are_and_in_which_state() -> None:
    shown = "".join(message._repr_html_() for message in MESSAGES)
    for told in ("everyone", "org-2", ">Done<", ">Ready<", KEY, "https://store.example"):
        assert told in shown
    assert Several()._repr_html_() == "<table><thead><tr><th>none</th></tr></thead><tbody></tbody></table>"


def test_everything_that_the_sdk_returns_is_shown() -> None:
    classes = {getattr(orchestrator.client, name) for name in orchestrator.client.__all__ if name != "PUBLIC"}
    ours = {each for each in classes if isinstance(each, type) and not issubclass(each, Exception)}
    plain = {Certificates, Check, Explanation, Score}
    assert {each for each in ours - plain if not hasattr(each, "_repr_html_")} == set()
    assert all(each.__repr__ is not object.__repr__ for each in ours)


def test_a_plan_tells_what_it_is_made_of(plan: Plan[None]) -> None:
    facts = plan.facts()
    assert (facts["key"], facts["tasks"], facts["registered"]) == (
        plan.key,
        f"1 (1 {NASTY})",
        "not yet: submit() does it",
    )
    plan.tasks[0].message.inputs.add(identifier="b", asset_key=KEY)
    assert plan.tasks[0].facts()["inputs"] == f"{NASTY} (1), b (1)"


def test_a_progress_tells_how_far_it_is() -> None:
    assert (progress().told, Progress().told) == ("1 of 2 tasks Done, 1 Doing", "no task is registered")
    html = progress()._repr_html_()
    assert '<progress max="2" value="1"></progress>' in html
    assert "Doing: 1 of 2 tasks Done, 1 Doing" in html
    assert repr(Progress()) == "Progress(state='Waiting', tasks='no task is registered')"


@pytest.mark.parametrize(
    ("asset", "line"),
    [
        (pb.ComputePlan(key=KEY), f"plan {KEY} renamed"),
        (pb.ComputeTask(key=KEY, rank=1, worker="org-1", status=pb.STATUS_DONE), "task 0e27b6e1 rank 1 org-1 Done"),
        (pb.Model(key="m", compute_task_key=KEY), "task 0e27b6e1 model m updated"),
        (
            pb.Performance(compute_task_key=KEY, compute_task_output_identifier="auc", performance_value=0.5),
            "task 0e27b6e1 auc = 0.5",
        ),
        (pb.FailureReport(asset_key=KEY, owner="org-1"), "task 0e27b6e1 failed: UNSPECIFIED error reported by org-1"),
        (pb.ProfilingStep(asset_key=KEY, step="build", duration=1500), "task 0e27b6e1 build took 0.002 s"),
        (
            pb.ComputeTaskOutputAsset(compute_task_key=KEY, compute_task_output_identifier="model", asset_key="m"),
            "task 0e27b6e1 model is m",
        ),
        (
            pb.ComputeTaskOutputAsset(
                compute_task_key=KEY,
                compute_task_output_identifier="auc",
                asset_kind=pb.ASSET_PERFORMANCE,
                asset_key=f"{KEY}|auc",
            ),
            "task 0e27b6e1 auc is measured",
        ),
    ],
)
def test_each_event_is_a_line(asset: object, line: str) -> None:
    assert str(event(asset, reason="")).partition(" ")[2] == line
    assert line in repr(event(asset, reason="why"))
    assert str(event(asset, reason="why")).endswith(f"{line} (why)")


async def shown_asynchronously() -> str:
    async with AsyncClient("127.0.0.1:1", "org-1", "channel") as client:
        return repr(client)


def test_a_client_tells_whom_it_speaks_for() -> None:
    told = "(organization='org-1', channel='channel', address='127.0.0.1:1')"
    with Client("127.0.0.1:1", "org-1", "channel") as client:
        assert repr(client) == f"Client{told}"
    assert asyncio.run(shown_asynchronously()) == f"AsyncClient{told}"


def test_certificates_are_given_as_text_or_as_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    files = Certificates("ca.pem", Path("anna.pem"), "~/anna.key")
    assert files == Certificates(Path("ca.pem"), "anna.pem", Path("/home/anna/anna.key"), None)
    assert files.peers is None
    assert repr(files).startswith("Certificates(authority=PosixPath('ca.pem'), ")
