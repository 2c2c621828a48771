"""Which calls are made again, and until when."""

import grpc
import pytest

from orchestrator.client import CallError
from orchestrator.client.insistence import insist, lost

UNAVAILABLE = CallError(grpc.StatusCode.UNAVAILABLE, "connection refused")
BUSY = CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "OE0201: too much in hand", pause=60.0)
REFUSED = CallError(grpc.StatusCode.NOT_FOUND, "OE0002: task 1 does not exist")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UNAVAILABLE, True),
        (BUSY, True),
        (CallError(grpc.StatusCode.INTERNAL, "OE0007: the database does not answer"), True),
        (CallError(grpc.StatusCode.PERMISSION_DENIED, "blocked by a proxy"), True),
        (REFUSED, False),
        (CallError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), False),
        (CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 8)"), False),
        (ValueError("our own"), False),
    ],
    ids=str,
)
def test_only_the_orchestrators_own_words_answer_a_call(error: Exception, expected: bool):
    assert lost(error) is expected


class Server:
    """Answers after some failures."""

    def __init__(self, *failures: CallError) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def test_it_is_made_until_it_is_answered():
    server, pauses = Server(UNAVAILABLE, BUSY, UNAVAILABLE), []
    assert insist(server, pause=pauses.append) == "done"
    assert (server.calls, len(pauses)) == (4, 3)
    assert pauses[1] >= BUSY.pause > max(pauses[0], pauses[2])


def test_a_refusal_is_one():
    server = Server(UNAVAILABLE, REFUSED)
    with pytest.raises(CallError, match="OE0002"):
        insist(server, pause=lambda _: None)
    assert server.calls == 2


def test_it_is_given_up_when_it_is_enough():
    server = Server(*[UNAVAILABLE] * 9)
    with pytest.raises(CallError, match="connection refused"):
        insist(server, enough=lambda: server.calls == 3, pause=lambda _: None)
    assert server.calls == 3


def test_it_is_given_up_in_time():
    server = Server(*[UNAVAILABLE] * 9)
    with pytest.raises(CallError, match="connection refused"):
        insist(server, seconds=0, pause=lambda _: None)
    assert server.calls == 1
