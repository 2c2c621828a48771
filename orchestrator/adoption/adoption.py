"""Following another server until all that it has is here; it can be interrupted at any time, and repeated."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.adoption import batch, rows, source
from orchestrator.adoption.source import Stream
from orchestrator.client import CallError, Client
from orchestrator.core.errors import NotFoundError, OrchestratorError
from orchestrator.engine import vitals
from orchestrator.engine.transaction import NOBODY, Database
from orchestrator.trace import adopted

_BATCH = 1_000
_QUIET_SECONDS = 0.5
_STALL_SECONDS = 60.0
_LIVE_SECONDS = 60.0


class AdoptionError(Exception):
    """A channel cannot be adopted; the message is one line that says why, and what to do."""


@dataclass
class Progress:
    """How far it is.

    Args:
        events: how many were adopted in this run.
        unread: what could not be read: which event, and why.
    """

    events: int = 0
    unread: list[str] = field(default_factory=list)


def check_at_rest(database: Database) -> None:
    """Check that nothing here changes what is adopted meanwhile.

    Raises:
        AdoptionError: a server or a beat of this database has run a short time ago.
    """
    found = vitals.read(database)
    served = [] if found.presence is None else [found.presence]
    ages = (("a server", served), ("a beat", [sweep.age for sweep in found.sweeps]))
    running = [name for name, seconds in ages if min(seconds, default=_LIVE_SECONDS) < _LIVE_SECONDS]
    if running:
        raise AdoptionError(
            f"{' and '.join(running)} of this database ran less than a minute ago, and would change what is adopted: "
            "end them, and try again in a minute"
        )


def follow(client: Client, database: Database, progress: Progress) -> Iterator[bool]:
    """Adopt what the other server tells, for ever; yield after each step whether all that it had is here.

    Args:
        client: of the other server; its channel is adopted.
        database: of this one.
        progress: told of each step.

    Raises:
        AdoptionError: the channel was changed here, or the stream tells nothing more though there is more.
        CallError: the other server does not answer; what was adopted is kept.
        OrchestratorError: what is told does not fit to what is here; nothing of the step is kept.
    """
    last = _last(client, database)
    try:
        with Stream(client, last) as stream:
            heard = time.monotonic()
            while True:
                taken = stream.take(_BATCH, _QUIET_SECONDS)
                if taken:
                    heard = time.monotonic()
                    _keep(client, database, taken, progress)
                    yield False
                    continue
                newest = source.newest(client)
                complete = newest is None or _known(client, database, newest)
                if not complete and time.monotonic() - heard > _STALL_SECONDS:
                    raise AdoptionError(
                        f"{client.address} lists event {newest}, and its stream has told nothing for "
                        f"{_STALL_SECONDS:.0f} s: try again"
                    )
                yield complete
    except CallError as error:
        if error.oe_code == NotFoundError.code:
            raise AdoptionError(
                f"{client.address} does not know event {last}, which ends the channel {client.channel} here: it is "
                "another network's, or was changed here since"
            ) from error
        raise


def _last(client: Client, database: Database) -> UUID | None:
    with database.begin() as connection:
        last = adopted.last(connection, client.channel)
    if not last.placed:
        raise AdoptionError(f"channel {client.channel} has events here that no other server has told of")
    return last.event


def _known(client: Client, database: Database, event: UUID) -> bool:
    with database.begin() as connection:
        return adopted.known(connection, client.channel, event)


def _keep(client: Client, database: Database, events: list[pb.Event], progress: Progress) -> None:
    found = batch.of(events)
    try:
        database.run(NOBODY, client.channel, lambda transaction: rows.write(transaction, found))
    except OrchestratorError as error:
        raise AdoptionError(f"events {events[0].id} to {events[-1].id} are not kept: {error}") from error
    progress.events += len(found.events)
    progress.unread += found.unread


def catch_up(
    client: Client, database: Database, progress: Progress, told: Callable[[], None], *, at_rest: bool = False
) -> None:
    """Adopt until all is here that the other server has when it is asked first.

    Args:
        client: of the other server.
        database: of this one.
        progress: told of each step.
        told: called after each.
        at_rest: the other server takes no more calls: end only when it has nothing more to tell.

    Raises:
        AdoptionError: see `follow`.
        CallError: see `follow`.
    """
    goal = source.newest(client)
    for complete in follow(client, database, progress):
        told()
        if complete or (not at_rest and goal is not None and _known(client, database, goal)):
            return
