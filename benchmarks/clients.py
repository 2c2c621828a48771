"""Clients that work through lives, each as fast as it is answered, whatever they speak."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

Connection = TypeVar("Connection")
Life = TypeVar("Life")


@dataclass
class Driven:
    """What a load did.

    Args:
        lives: that ran to their end.
        calls: that were answered.
        seconds: from the first call to the last answer.
        latencies: seconds of each call.
        failures: calls that were refused; the first one's reason is kept.
        reason: of the first failure.
        server: seconds of processor that the server had, until it was at rest again.
        database: and those of Postgres.
    """

    lives: int = 0
    calls: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    reason: str = ""
    server: float = 0.0
    database: float = 0.0


async def work(
    clients: int,
    lives: Sequence[Life],
    seconds: float,
    connect: Callable[[], AbstractAsyncContextManager[Connection]],
    live: Callable[[Connection, Life, Driven], Awaitable[None]],
) -> Driven:
    """Let a number of clients, each on a connection of its own, work through lives; return what they did.

    Args:
        clients: how many at once.
        lives: each is taken by one client.
        seconds: after which no new one is begun, but each client's first.
        connect: opens a connection, ready to be used.
        live: lives one, and notes what it did.
    """
    driven, left, start = Driven(), deque(lives), asyncio.Event()

    async def client() -> None:
        # A pool of connections of the process would make all clients share one.
        async with connect() as connection:
            ready.release()
            await start.wait()
            first = True
            while left and (first or time.perf_counter() < deadline):
                first = False
                await live(connection, left.popleft(), driven)

    ready = asyncio.Semaphore(0)
    deadline = 0.0
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
        for _ in range(clients):
            await ready.acquire()
        begun = time.perf_counter()
        deadline = begun + seconds
        start.set()
    driven.seconds = time.perf_counter() - begun
    return driven
