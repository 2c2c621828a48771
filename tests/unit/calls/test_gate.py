"""Who was let in is let in again where time has gone by."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.calls import gate
from orchestrator.calls.gate import Caller, Visit
from orchestrator.core.errors import PermissionDeniedError

HERE, THERE = Caller("org-1", "here", None), Caller("org-1", "there", None)


def visited(*later: Caller | Exception, renewals: int = 1) -> int:
    """Visit, and renew it some times; return how often the caller had to be let in again."""
    left: list[Caller | Exception] = [*later]

    async def identify() -> Caller:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario() -> None:
        visit = Visit(HERE, identify)
        for _ in range(renewals):
            await visit.renew()

    asyncio.run(scenario())
    return len(later) - len(left)


def test_who_came_a_moment_ago_is_not_asked_again():
    assert visited(PermissionDeniedError("it left"), renewals=100) == 0


@pytest.mark.parametrize("later", [[HERE, HERE], [Caller("org-1", "here", None), HERE]])
def test_who_came_a_while_ago_is_let_in_again_each_time(monkeypatch: pytest.MonkeyPatch, later: Sequence[Caller]):
    monkeypatch.setattr(gate, "VISIT_SECONDS", 0.0)
    assert visited(*later, renewals=2) == 2


@pytest.mark.parametrize("later", [PermissionDeniedError("it left"), THERE, Caller("org-2", "here", None)])
def test_who_left_or_is_somebody_else_by_now_is_refused(monkeypatch: pytest.MonkeyPatch, later: Caller | Exception):
    monkeypatch.setattr(gate, "VISIT_SECONDS", 0.0)
    with pytest.raises(PermissionDeniedError):
        visited(later)
