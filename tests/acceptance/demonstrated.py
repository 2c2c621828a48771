"""The demo's compute plan with fewer rounds, in a federation that goes on, and all that was seen of it."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from rich.console import Console
from sqlalchemy import Row, text

from orchestrator import protos as pb
from orchestrator.cli.experiment import AGGREGATOR, HOSPITALS, Experiment, Preparation
from orchestrator.cli.story import Telling
from orchestrator.client import Client
from orchestrator.client.lists import pages
from orchestrator.embedded.federation import Federation
from orchestrator.store.connecting import make_engine

ROUNDS = 2
TASKS_OF_A_ROUND = len(HOSPITALS) + 1
TASKS = ROUNDS * TASKS_OF_A_ROUND + len(HOSPITALS)


@dataclass(frozen=True)
class Demonstrated:
    """A federation after the demo.

    Args:
        federation: it runs.
        faults: what the demo found wrong.
        printed: what it printed.
        heard: what the broker heard.
        events: the trace, in the order of readers.
        attempts: the rows of all attempts.
    """

    federation: Federation
    faults: list[str]
    printed: str
    heard: list[str]
    events: list[pb.Event]
    attempts: list[Row[Any]]


class Listened:
    """Everything that was sent to a broker while the block ran."""

    def __init__(self, url: str) -> None:
        self._connection = redis.Redis.from_url(url)
        self.commands: list[str] = []

    def __enter__(self) -> "Listened":
        self._monitor = self._connection.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def _listen(self) -> None:
        for command in self._monitor.listen():
            self.commands.append(command["command"])
            if "the test is over" in command["command"]:
                return

    def __exit__(self, *_: object) -> None:
        self._connection.echo("the test is over")
        self._thread.join(30)
        self._monitor.__exit__(None, None, None)
        self._connection.close()


@contextmanager
def run(federation: Federation) -> Iterator[Demonstrated]:
    """Start a federation, and let the demo run in it before anything else does."""
    printed = io.StringIO()
    preparation = Preparation(ROUNDS)
    console = Console(file=printed, width=120)
    telling = Telling(federation.folder, federation.data, console, ROUNDS, stays=True)
    with federation:
        with Listened(federation.places.broker_url) as listened:
            faults = Experiment(federation, telling, preparation).tell()
        yield Demonstrated(
            federation, faults, printed.getvalue(), listened.commands, _events(federation), _attempts(federation)
        )


def _events(federation: Federation) -> list[pb.Event]:
    certificates = federation.certificates(AGGREGATOR)
    with Client(federation.places.address, AGGREGATOR, federation.channel, certificates) as client:
        # By time, which two calls at once may not share with the order of readers: the last one there is not the last.
        awaited = {event.id for event in pages(client.events.QueryEvents, pb.QueryEventsParam(), "events")}
        stream = client.events.SubscribeToEvents(pb.SubscribeToEventsParam())
        found = []
        for event in stream:
            found.append(event)
            awaited.discard(event.id)
            if not awaited:
                stream.cancel()
                return found
    raise AssertionError("the stream ended before the last event")


def _attempts(federation: Federation) -> list[Row[Any]]:
    engine = make_engine(federation.places.database_url)
    with engine.connect() as connection:
        rows = list(connection.execute(text("SELECT task_key, number, outcome FROM attempts")))
    engine.dispose()
    return rows
