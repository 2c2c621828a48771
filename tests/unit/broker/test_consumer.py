"""What a worker's consumer leaves in a message."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.message import Message

from orchestrator.broker import consumer
from orchestrator.core.pokes import RUN_TASK

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LEFT = {"task", "id", "root_id", "lang", "argsrepr", "kwargsrepr", "expires", "ignore_result"}


def run(task: str, attempt: int) -> None: ...


def read(**headers: Any) -> dict[str, Any]:
    """Return the headers that are left."""
    body = json.dumps([[], {"task": "key", "attempt": 1}, {"chord": "x"}])
    message = Message(
        body,
        headers={"task": RUN_TASK, "id": "1", **headers},
        content_type="application/json",
        content_encoding="utf-8",
    )
    consumer.read(message, {RUN_TASK: SimpleNamespace(run=run)})
    assert json.loads(message.body)[2] == {}
    return dict(message.headers)


def test_nothing_passes_that_a_task_does_not_need() -> None:
    left = read(eta="2030-01-01", reply_to="x", timelimit=[1, 1], tracestate="a=b", baggage="secret=1", other="x")
    assert left.keys() == LEFT


def test_where_it_stands_in_a_trace_passes() -> None:
    assert read(traceparent=TRACEPARENT).items() >= {"traceparent": TRACEPARENT}.items()


@pytest.mark.parametrize(
    "value", ["", "x", TRACEPARENT + " ", TRACEPARENT + "-x", TRACEPARENT.upper(), 1, None, [TRACEPARENT], {"a": 1}]
)
def test_what_only_looks_like_it_does_not(value: object) -> None:
    assert read(traceparent=value).keys() == LEFT
