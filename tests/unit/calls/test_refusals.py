"""What a caller is told of an error, and what only the log is."""

import gc
import weakref

import grpc
import pytest

from orchestrator.calls.refusals import OUTCOMES, Refusal, refusal
from orchestrator.core import errors


def derived(kind: type[Exception]) -> list[type[Exception]]:
    return [each for child in kind.__subclasses__() for each in (child, *derived(child))]


KINDS = [kind for kind in derived(errors.OrchestratorError) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own_in_the_table(kind: type[errors.OrchestratorError]):
    answered = refusal("GetTask", kind("what happened"))
    assert kind in OUTCOMES
    assert (answered.code, answered.message) == (kind.code, "what happened")
    assert str(answered) == f"{kind.code}: what happened"
    assert answered.outcome in grpc.StatusCode.__members__


def test_an_error_that_is_not_listed_is_answered_like_the_one_it_is_derived_from():
    assert refusal("GetTask", errors.ClosedError()).outcome == "UNAVAILABLE"


def test_who_has_too_much_in_hand_is_told_when_to_come_again():
    busy = errors.BusyError("org-1 has 3 calls in hand")
    answered = refusal("GetTask", busy)
    assert (answered.outcome, answered.code, answered.pause) == ("UNAVAILABLE", "OE0201", busy.pause)
    assert refusal("GetTask", errors.UnavailableError("the database is away")) == Refusal(
        errors.UnavailableError, "", "the database is away"
    )


def test_a_fault_of_ours_is_not_told():
    answered = refusal("GetTask", ZeroDivisionError("the secret"))
    assert (answered.outcome, answered.code) == ("INTERNAL", "OE0007")
    assert "secret" not in str(answered)


def test_a_refusal_keeps_nothing_of_the_request():
    class Request:
        pass

    def refused() -> tuple[Refusal, weakref.ref[Request]]:
        request = Request()
        try:
            raise errors.NotFoundError(f"nothing like {request}")
        except errors.NotFoundError as error:
            return refusal("GetTask", error), weakref.ref(request)

    gc.disable()
    try:
        answered, request = refused()
        assert request() is None
    finally:
        gc.enable()
    assert answered.code == "OE0002"
