"""What is told of exceptions that are not like others."""

import sys

import pytest
from orchestrator_modules import failures
from orchestrator_modules.configuration import Answering
from orchestrator_modules.enums import ErrorCode
from orchestrator_modules.frames import Held, Request, Task
from orchestrator_modules.job import Job
from orchestrator_modules.kinds import KIND_OF
from orchestrator_modules.types import NodeStatus, RequestType, UserInput

from tests.kit.waiting import wait_until


class MuteError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


ERRORS = [
    (ValueError("no such device"), "ValueError: no such device"),
    (ValueError("half \ud800"), "ValueError: half \\ud800"),
    (ValueError("a\0b"), "ValueError: a\\x00b"),
    (ValueError("x" * 10_000_000), f"ValueError: {'x' * 1000}"),
    (MuteError(), "MuteError: its text cannot be had: RuntimeError"),
    (SystemExit(3), "SystemExit: 3"),
]


@pytest.mark.parametrize(("error", "line"), ERRORS, ids=range(len(ERRORS)))
def test_any_exception_ends_a_task_s_callback_with_an_outcome(error, line):
    def callback(*_: object) -> None:
        raise error

    inputs = (("UserInput", UserInput().members()),)
    task = Task("job", Held("channel", b""), inputs, NodeStatus().members())
    job = Job(KIND_OF["HW_CONSTRAINTS"], task, callback, lambda: None)
    job.start()
    wait_until(lambda: not job.alive)
    assert job.outcome is not None
    assert (job.outcome.error, job.outcome.message) == ("EXCEPTION", line)


def test_any_exception_is_an_answer_to_a_configuration_request_and_the_next_is_answered_too():
    errors = iter([error for error, _ in ERRORS])
    answers = []

    def callback(_: object, answer: object) -> None:
        raise next(errors)

    answering = Answering(3, callback, lambda: None)
    for number in range(len(ERRORS)):
        answering.ask(Request(str(number), RequestType().members()))

    def all_answered() -> bool:
        answers.extend(answering.answers())
        return len(answers) == len(ERRORS)

    wait_until(all_answered)
    assert {answer.response["err_code"] for answer in answers} == {ErrorCode.INTERNAL_ERROR}
    assert not any(answer.response["success"] for answer in answers)


def test_a_closed_stderr_is_no_failure_of_its_own(monkeypatch, tmp_path):
    with (tmp_path / "closed").open("w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    assert failures.told(ValueError("why")) == "ValueError: why"
