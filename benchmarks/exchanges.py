"""Requests over HTTP, and the load of them: what `load` does of gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from benchmarks.clients import Driven, work

PLAIN: Mapping[str, Any] = {"timeout": 300.0, "trust_env": False, "verify": False}
"""What a client of httpx is told: no proxy stands before this machine, and without TLS no authorities need be read."""


@dataclass(frozen=True)
class Exchange:
    """A request, written out.

    Args:
        method: as in `GET`.
        path: with its query.
        body: as it is sent.
        media: the type of the body; empty where there is none.
    """

    method: str
    path: str
    body: bytes = b""
    media: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What it bears besides what every request has."""
        return {"Content-Type": self.media} if self.media else {}


ROOT = Exchange("GET", "/api/")
"""What is answered with nothing behind it."""


def drive(url: str, clients: int, lives: Sequence[Sequence[Exchange]], seconds: float) -> Driven:
    """Let clients of HTTP work through lives; see `work`.

    Args:
        url: the base of their paths.
        clients: how many at once.
        lives: each is taken by one client.
        seconds: after which no new one is begun.
    """
    return asyncio.run(work(clients, lives, seconds, partial(_connect, url), _live))


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, **PLAIN) as http:
        # Connects, and keeps the connection.
        await http.request(ROOT.method, ROOT.path)
        yield http


async def _live(http: httpx.AsyncClient, life: Sequence[Exchange], driven: Driven) -> None:
    for each in life:
        begun = time.perf_counter()
        answer = await http.request(each.method, each.path, content=each.body or None, headers=each.headers)
        if not answer.is_success:
            driven.failures += 1
            driven.reason = driven.reason or f"{each.method} {each.path}: {answer.status_code} {answer.text[:500]}"
            return
        driven.latencies.append(time.perf_counter() - begun)
        driven.calls += 1
    driven.lives += 1
