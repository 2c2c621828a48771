"""The second part of an audit, for whoever runs the orchestrator: whether the rows are what the events told."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError

from orchestrator import protos as pb
from orchestrator.audit import rows
from orchestrator.audit.lineage import parents_of
from orchestrator.audit.snapshots import TOLERANCE
from orchestrator.audit.violations import Rule, Violation
from orchestrator.compute import assets
from orchestrator.core.states import TASK_WORDS, TERMINAL
from orchestrator.engine import kinds
from orchestrator.engine.kinds import Kind
from orchestrator.engine.transaction import Database
from orchestrator.store.connection import Connection, Row
from orchestrator.trace import forgotten

_STORED = (assets.functions, assets.compute_plans, assets.data_managers, assets.data_samples, assets.models)
_UNREADABLE = "cannot be read: its row, or an event about it, holds no such message"


@dataclass(frozen=True)
class Kept:
    """What must be there: older things may have been forgotten.

    Args:
        pokes_since: pokes of what became To do later.
        attempts_since: attempts of tasks whose last event is later; None where all are kept.
        events_since: events of later times; None where all are kept.
    """

    pokes_since: datetime
    attempts_since: datetime | None = None
    events_since: datetime | None = None


def check(
    database: Database, channel: str, poke_retention: timedelta, attempt_retention: timedelta | None = None
) -> Iterator[Violation]:
    """Yield what is wrong with the rows of a channel, and with the order of readers of all channels, as of one moment.

    Args:
        database: it is read only.
        channel: whose rows.
        poke_retention: how long pokes are kept that were sent: an older one may be missing.
        attempt_retention: how long attempts are kept of tasks that have ended; None for ever.
    """
    with database.snapshot() as connection:
        now = database.measure(connection) + TOLERANCE
        gone = forgotten.of(connection, channel)
        kept = Kept(
            pokes_since=now - poke_retention,
            attempts_since=now - attempt_retention if attempt_retention is not None else None,
            events_since=gone.until if gone else None,
        )
        for before, after in rows.gaps(connection):
            words = (
                f"no event has a place between {before} and {after}"
                if before < after
                else f"two events have the place {after}"
            )
            yield Violation(Rule.POSITIONS, "", "", words)
        for event in rows.lost(connection, channel):
            yield Violation(Rule.POSITIONS, event.asset_key, event.event_id, "the event has no place, and gets none")
        for poke in rows.pokes_of_nothing(connection):
            yield Violation(Rule.POKES, poke.asset_key, "", f"poke {poke.id} is for a {poke.kind} that does not exist")
        for told in rows.told_only(connection, channel):
            yield Violation(Rule.ROW_AS_TOLD, told.asset_key, told.event_id, "the event tells of it, and it has no row")
        yield from _check_assets(connection, channel, kept)
        for kind in kinds.every():
            for row in rows.tasks(connection, channel, kind):
                try:
                    yield from check_task(row, kept, kind)
                except DecodeError:
                    yield Violation(Rule.ROW_AS_TOLD, row.key, "", f"the task {_UNREADABLE}")


def _forgotten(kept: Kept, *times: datetime) -> bool:
    return kept.events_since is not None and all(time <= kept.events_since for time in times)


def _check_assets(connection: Connection, channel: str, kept: Kept) -> Iterator[Violation]:
    for stored in _STORED:
        for row in rows.last_events(connection, channel, stored):
            if row.asset is None and not _forgotten(kept, row.created_at):
                yield Violation(Rule.ROW_AS_TOLD, row.key, "", f"no event tells of this {stored.noun}")
                continue
            try:
                message = stored.message.FromString(row.message)
                same = row.asset is None or message == stored.message.FromString(row.asset)
                words = "is not what the last event about it tells"
            except DecodeError:
                same, words = False, _UNREADABLE
            if not same:
                yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_id or "", f"the {stored.noun} {words}")


def check_task(row: Row, kept: Kept, kind: Kind) -> Iterator[Violation]:
    """Yield what is wrong with a task.

    Args:
        row: of `audit.rows.tasks`.
        kept: what must be there of its events, attempts and pokes.
        kind: of work.
    """
    bears: type[Any] = kind.own_assets.get(kind.asset_kind, pb.ComputeTask)
    message = bears.FromString(row.message + kind.state(row.status))
    told = [bears.FromString(asset) for asset in row.assets]
    if told:
        yield from _check_told(row, message, told[-1])
    elif not _forgotten(kept, row.created_at):
        yield Violation(Rule.ROW_AS_TOLD, row.key, "", "no event tells of this task")
        return
    if row.astray:
        yield Violation(Rule.ROW_AS_TOLD, row.key, "", "the state of the task is kept under another plan than the task")
    if isinstance(message, pb.ComputeTask) and set(row.parents) != set(parents_of(message)):
        yield Violation(Rule.PENDING_PARENTS, row.key, "", "the edges above the task are not those of its inputs")
    if row.pending_parents != row.pending:
        words = f"the task waits for {row.pending_parents} parents, and {row.pending} are not Done"
        yield Violation(Rule.PENDING_PARENTS, row.key, "", words)
    for words in _attempt_faults(row, [task.status for task in told], kept):
        yield Violation(Rule.ATTEMPT_ROWS, row.key, "", words)
    for words in _poke_faults(row, [task.status for task in told], kept):
        yield Violation(Rule.POKES, row.key, "", words)


def _check_told(row: Row, message: Any, last: Any) -> Iterator[Violation]:
    if row.status != last.status:
        words = f"the task is {_state(row.status)}, and the last event about it tells that it is"
        yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_ids[-1], f"{words} {_state(last.status)}")
    alike = type(last)()
    alike.CopyFrom(last)
    alike.status = message.status
    if message != alike:
        yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_ids[-1], "the task is not what the last event tells")


def _whole(row: Row) -> bool:
    """Tell whether the events of a task begin with its creation."""
    return bool(row.kinds[:1] == [pb.EVENT_ASSET_CREATED])


def _attempt_faults(row: Row, statuses: list[int], kept: Kept) -> Iterator[str]:
    numbers, ended = row.numbers, row.ended
    if not numbers and row.status in TERMINAL and _attempts_forgotten(row, kept):
        return
    began = [place for place, status in enumerate(statuses) if status == pb.STATUS_EXECUTING]
    untold = row.attempts - len(began)
    if numbers != list(range(1, row.attempts + 1)) or untold < 0 or (untold and _whole(row)):
        yield (
            f"the events tell of {len(began)} attempts, the task of {row.attempts}, "
            f"and there are rows of the attempts {', '.join(map(str, numbers)) or 'none'}"
        )
        return
    running = numbers[-1:] if row.status == pb.STATUS_EXECUTING else []
    unended = [number for number, end in zip(numbers, ended, strict=True) if end is None]
    if unended != running:
        yield f"attempts {unended} have not ended, and the task is {_state(row.status)}"
    # Where the first events were forgotten, those of the first attempts were: they count from the last.
    places = [None] * untold + began
    for number, place, claimed, end, outcome in zip(numbers, places, row.claimed, ended, row.outcomes, strict=True):
        if place is None and not _forgotten(kept, claimed - TOLERANCE):
            yield f"attempt {number} was claimed at {claimed}, and no event tells so"
        if place is not None and abs(row.times[place] - claimed) > TOLERANCE:
            yield f"attempt {number} was claimed at {claimed}, and its event bears another time"
        if end is not None and not _told_end(row, statuses, kept, place, end, outcome):
            yield f"attempt {number} ended at {end} in state {outcome}, and no event tells so"
        if end is not None and number < len(ended) and row.claimed[number] < end - TOLERANCE:
            yield f"attempt {number + 1} was claimed before attempt {number} had ended"


def _attempts_forgotten(row: Row, kept: Kept) -> bool:
    return kept.attempts_since is not None and all(time < kept.attempts_since for time in row.times[-1:])


def _told_end(row: Row, statuses: list[int], kept: Kept, began: int | None, end: datetime, outcome: int) -> bool:
    """Tell whether an event tells of the end of an attempt: the one after its beginning, or the first that is kept."""
    if began is None and _forgotten(kept, end - TOLERANCE):
        return True
    place = 0 if began is None else began + 1
    return statuses[place : place + 1] == [outcome] and abs(row.times[place] - end) <= TOLERANCE


def _poke_faults(row: Row, statuses: list[int], kept: Kept) -> Iterator[str]:
    poked = set(row.poked_attempts)
    if not row.queue:
        if poked:
            yield "it has no queue, and was poked all the same"
        return
    strangers = set(row.poked_queues) - {row.queue}
    if strangers:
        yield f"it was poked at {', '.join(sorted(strangers))}, and its queue is {row.queue}"
    if row.silent and not row.declined:
        yield "it is To do, its worker has not declined it, and nobody will be poked again"
    if row.declined and row.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT and not row.silent:
        yield "its worker has declined it, and will be poked all the same"
    to_do = [place for place, status in enumerate(statuses) if status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT]
    # Every attempt was To do before, and the task may be now; only of a whole trace is it known whether it was.
    most = len(to_do) if _whole(row) else row.attempts + 1
    if wrong := sorted(number for number in poked if not 1 <= number <= most):
        yield f"it was poked for the attempts {wrong}, and was To do {most} times"
    # What is stopped loses its unsent pokes. Attempts after the first may be claimed before they are poked for.
    stopped = statuses[-1:] in ([pb.STATUS_CANCELED], [pb.STATUS_FAILED])
    if to_do and _whole(row) and not stopped and 1 not in poked and row.times[to_do[0]] > kept.pokes_since:
        yield "it became To do, and nobody was poked"


def _state(status: int) -> str:
    return TASK_WORDS.get(status, f"state {status}")  # type: ignore[call-overload,no-any-return]
