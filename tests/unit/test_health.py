"""When a process says that it can do its work, and where it says so."""

import asyncio
import threading
import time

import pytest

from orchestrator import health
from orchestrator.core.errors import UnavailableError
from orchestrator.embedded.ports import free_port
from tests.kit.health import asked


def test_a_worker_that_has_told_nothing_for_long_does_not_read(monkeypatch: pytest.MonkeyPatch):
    signs, now = health.Signs(), time.monotonic()
    with pytest.raises(UnavailableError, match="has not been reached yet"):
        signs.check()
    signs.note()
    signs.check()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    with pytest.raises(UnavailableError, match="not been read for 60 s: the broker is away, or the worker hangs"):
        signs.check()


def test_a_check_that_hangs_is_not_waited_for():
    over = threading.Event()
    hangs = health.in_thread(lambda: over.wait(60), 0.05)

    async def check() -> None:
        with pytest.raises(UnavailableError, match=r"no answer for 0\.05 s"):
            await hangs
        over.set()

    asyncio.run(check())


def test_an_address_is_answered_on_as_long_as_it_should_and_taken_by_one_alone(free_address: str):
    async def ready() -> None:
        raise UnavailableError("it has a cold")

    with health.answering(free_address, ready):
        assert asked(free_address, "/health") == (200, "ok")
        code, reason = asked(free_address, "/ready")
        assert (code, "it has a cold" in reason) == (503, True)
        with pytest.raises(health.AddressError, match=r"ORCHESTRATOR_HEALTH_ADDRESS .+ cannot be listened on"):
            health.check_address(free_address)
    assert asked(free_address, "/health")[0] == 0
    health.check_address(free_address)


@pytest.fixture
def free_address() -> str:
    return f"127.0.0.1:{free_port()}"
