"""A call that must happen once, when its answer is lost; and the error that people read."""

from collections.abc import Sequence

import grpc
import pytest

from orchestrator.client import CallError
from orchestrator.client.steps import Steps, settle

LOST = CallError(grpc.StatusCode.UNAVAILABLE, "gone")
CONFLICT = CallError(grpc.StatusCode.ALREADY_EXISTS, "OE0006: there is one")
FORBIDDEN = CallError(grpc.StatusCode.PERMISSION_DENIED, "OE0102: not yours")
MISSING = CallError(grpc.StatusCode.NOT_FOUND, "OE0002: there is none")


def call(client: object) -> None: ...


def question(client: object) -> None: ...


def play(steps: Steps[None], answers: Sequence[object]) -> list[object]:
    """Give the answers one by one, none to a pause; return what was asked for them."""
    asked = [next(steps)]
    for answer in answers:
        try:
            step = steps.throw(answer) if isinstance(answer, CallError) else steps.send(answer)
            asked.append(steps.send(None) if isinstance(step, float) else step)
        except StopIteration:
            return asked
    raise AssertionError(f"it still asks for {asked[-1]}")


def settling(sent_before: bool = False) -> Steps[None]:
    return settle(call, question, lambda answer: answer == "yes", sent_before)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        (["answer"], [call]),
        ([LOST, "yes"], [call, question]),
        ([LOST, MISSING, "answer"], [call, question, call]),
        ([LOST, "no", CONFLICT, "yes"], [call, question, call, question]),
        ([LOST, LOST, "answer"], [call, question, call]),
        ([LOST, "no", CONFLICT, LOST, CONFLICT, "yes"], [call, question, call, question, call, question]),
    ],
)
def test_it_happens_once(answers, asked):
    assert play(settling(), answers) == asked


def test_what_was_sent_before_may_refuse_itself():
    assert play(settling(sent_before=True), [CONFLICT, "yes"]) == [call, question]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([CONFLICT], CONFLICT),
        ([LOST, MISSING, CONFLICT, "no"], CONFLICT),
        ([LOST, MISSING] * 5, LOST),
        ([LOST, LOST] * 5, LOST),
        ([LOST, FORBIDDEN], FORBIDDEN),
    ],
)
def test_it_gives_up(answers, error):
    with pytest.raises(CallError) as caught:
        play(settling(), answers)
    assert caught.value is error


def test_it_pauses_longer_and_longer_before_it_sends_again():
    steps = settling()
    assert next(steps) is call
    pauses = []
    for _ in range(4):
        assert steps.throw(LOST) is question
        pauses.append(steps.send("no"))
        assert steps.send(None) is call
    assert all(low <= pause <= 3 * low for low, pause in zip((0.125, 0.25, 0.5, 1.0), pauses, strict=True))


@pytest.mark.parametrize(("answers", "result"), [(["answer"], "answer"), ([LOST, "yes"], "yes")])
def test_the_answer_is_that_of_the_call_or_where_it_is_lost_of_the_question(answers, result):
    def returned() -> Steps[None]:
        returns.append((yield from settling()))

    returns: list[object] = []
    play(returned(), answers)
    assert returns == [result]


def test_an_error_tells_code_status_and_message():
    assert (CONFLICT.oe_code, CONFLICT.message, CONFLICT.lost) == ("OE0006", "there is one", False)
    assert str(CONFLICT) == "OE0006: there is one"
    assert (LOST.oe_code, LOST.message, LOST.lost) == ("", "gone", True)
    assert str(LOST) == "UNAVAILABLE: gone"


def test_it_is_an_error_of_grpc_for_code_that_expects_one():
    assert isinstance(CONFLICT, grpc.RpcError)
    assert (CONFLICT.code(), CONFLICT.details()) == (grpc.StatusCode.ALREADY_EXISTS, "OE0006: there is one")
    assert CallError.of(CONFLICT) is CONFLICT
