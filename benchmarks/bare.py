"""Bare Celery on the same broker: the yardstick of everything that workers run.

Run by `celery --app benchmarks.bare:app worker`; its broker's URL comes in BENCH_BROKER_URL.
"""

import functools
import os
import time
from typing import Any

import redis
from celery import Celery, chord

STARTED, ENDED = "bench:started", "bench:ended"
"""Redis keys: the list of times at which tasks started, and the count of tasks that ended."""

app = Celery("bench", set_as_current=False)
app.conf.update(
    # By the name alone it would be ours, wherever a module of ours is imported that replaces Kombu's.
    broker_transport="kombu.transport.redis:Transport",
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)


def configure(url: str) -> None:
    """Name the broker, which keeps the results that chords need too."""
    app.conf.update(broker_url=url, result_backend=url)


@functools.cache
def connection() -> Any:
    """Return this process's connection to the broker, for what tasks note."""
    return redis.Redis.from_url(app.conf.broker_url)


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def stamp() -> None:
    """Say when it started."""
    connection().rpush(STARTED, time.time())


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def count() -> None:
    """Do nothing, and say that it did."""
    connection().incr(ENDED)


@app.task  # type: ignore[untyped-decorator]
def local(number: int) -> int:
    """Do nothing, as a local task of a round."""
    connection().incr(ENDED)
    return number


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def aggregate(numbers: list[int], rounds: int) -> None:
    """Do nothing, as the aggregate of a round, and begin the next one: nested chords would grow with the graph."""
    connection().incr(ENDED)
    if rounds > 1:
        begin(rounds - 1, len(numbers))


def begin(rounds: int, locals_: int) -> None:
    """Begin a graph of rounds of local tasks and an aggregate."""
    chord([local.s(number) for number in range(locals_)])(aggregate.s(rounds))


if url := os.environ.get("BENCH_BROKER_URL"):
    configure(url)
