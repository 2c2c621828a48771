"""The second part of an audit, for whoever runs the orchestrator: whether the rows are what the events told."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Row

from orchestrator import protos as pb
from orchestrator.core.lineage import parents_of
from orchestrator.core.snapshots import TOLERANCE, definition
from orchestrator.core.states import TASK_WORDS
from orchestrator.core.violations import Rule, Violation
from orchestrator.store import assets, audit
from orchestrator.store.database import Database

_STORED = (assets.functions, assets.compute_plans, assets.data_managers, assets.data_samples, assets.models)
_UNREADABLE = "cannot be read: its row, or an event about it, holds no such message"


def check(database: Database, channel: str, poke_retention: timedelta) -> Iterator[Violation]:
    """Yield what is wrong with the rows of a channel, and with the order of readers of all channels, as of one moment.

    Args:
        database: it is read only.
        channel: whose rows.
        poke_retention: how long pokes are kept that were sent: an older one may be missing.
    """
    pokes_since = datetime.now(UTC) - poke_retention + TOLERANCE
    with audit.snapshot(database) as connection:
        for before, after in audit.gaps(connection):
            yield Violation(Rule.POSITIONS, "", "", f"no event has a place between {before} and {after}")
        for poke in audit.pokes_of_nothing(connection):
            yield Violation(Rule.POKES, poke.asset_key, "", f"poke {poke.id} is for a {poke.kind} that does not exist")
        for told in audit.told_only(connection, channel):
            yield Violation(Rule.ROW_AS_TOLD, told.asset_key, told.event_id, "the event tells of it, and it has no row")
        yield from _check_assets(connection, channel)
        for row in audit.tasks(connection, channel):
            try:
                yield from check_task(row, pokes_since)
            except DecodeError:
                yield Violation(Rule.ROW_AS_TOLD, row.key, "", f"the task {_UNREADABLE}")


def _check_assets(connection: Connection, channel: str) -> Iterator[Violation]:
    for stored in _STORED:
        for row in audit.last_events(connection, channel, stored):
            if row.asset is None:
                yield Violation(Rule.ROW_AS_TOLD, row.key, "", f"no event tells of this {stored.noun}")
                continue
            try:
                same = stored.message.FromString(row.message) == stored.message.FromString(row.asset)
                words = "is not what the last event about it tells"
            except DecodeError:
                same, words = False, _UNREADABLE
            if not same:
                yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_id, f"the {stored.noun} {words}")


def check_task(row: Row[Any], pokes_since: datetime) -> Iterator[Violation]:
    """Yield what is wrong with a task.

    Args:
        row: of `store.audit.tasks`.
        pokes_since: pokes of what became To do before this moment may be missing.
    """
    message = pb.ComputeTask.FromString(row.message)
    told = [pb.ComputeTask.FromString(asset) for asset in row.assets]
    if not told:
        yield Violation(Rule.ROW_AS_TOLD, row.key, "", "no event tells of this task")
        return
    if row.status != told[-1].status:
        words = f"the task is {_state(row.status)}, and the last event about it tells that it is"
        yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_ids[-1], f"{words} {_state(told[-1].status)}")
    if message != definition(told[-1]):
        yield Violation(Rule.ROW_AS_TOLD, row.key, row.event_ids[-1], "the task is not what the last event tells")
    if set(row.parents) != set(parents_of(message)):
        yield Violation(Rule.PENDING_PARENTS, row.key, "", "the edges above the task are not those of its inputs")
    if row.pending_parents != row.pending:
        words = f"the task waits for {row.pending_parents} parents, and {row.pending} are not Done"
        yield Violation(Rule.PENDING_PARENTS, row.key, "", words)
    for words in _attempt_faults(row, [task.status for task in told]):
        yield Violation(Rule.ATTEMPT_ROWS, row.key, "", words)
    for words in _poke_faults(row, [task.status for task in told], pokes_since):
        yield Violation(Rule.POKES, row.key, "", words)


def _attempt_faults(row: Row[Any], statuses: list[int]) -> Iterator[str]:
    numbers, ended = row.numbers, row.ended
    began = [place for place, status in enumerate(statuses) if status == pb.STATUS_EXECUTING]
    if not numbers == list(range(1, len(began) + 1)) == list(range(1, row.attempts + 1)):
        yield (
            f"the events tell of {len(began)} attempts, the task of {row.attempts}, "
            f"and there are rows of the attempts {', '.join(map(str, numbers)) or 'none'}"
        )
        return
    running = numbers[-1:] if row.status == pb.STATUS_EXECUTING else []
    unended = [number for number, end in zip(numbers, ended, strict=True) if end is None]
    if unended != running:
        yield f"attempts {unended} have not ended, and the task is {_state(row.status)}"
    for number, place, claimed, end, outcome in zip(numbers, began, row.claimed, ended, row.outcomes, strict=True):
        if abs(row.times[place] - claimed) > TOLERANCE:
            yield f"attempt {number} was claimed at {claimed}, and its event bears another time"
        left = statuses[place + 1 : place + 2]
        if end is not None and (left != [outcome] or abs(row.times[place + 1] - end) > TOLERANCE):
            yield f"attempt {number} ended at {end} in state {outcome}, and no event tells so"
        if end is not None and number < len(ended) and row.claimed[number] < end - TOLERANCE:
            yield f"attempt {number + 1} was claimed before attempt {number} had ended"


def _poke_faults(row: Row[Any], statuses: list[int], since: datetime) -> Iterator[str]:
    poked = set(row.poked_attempts)
    strangers = set(row.poked_organizations) - {row.worker}
    if strangers:
        yield f"it was poked at {', '.join(sorted(strangers))}, and is run by {row.worker}"
    to_do = [place for place, status in enumerate(statuses) if status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT]
    if wrong := sorted(number for number in poked if not 1 <= number <= len(to_do)):
        yield f"it was poked for the attempts {wrong}, and was To do {len(to_do)} times"
    # What is stopped loses its unsent pokes. Attempts after the first may be claimed before they are poked for.
    stopped = statuses[-1] in (pb.STATUS_CANCELED, pb.STATUS_FAILED)
    if to_do and not stopped and 1 not in poked and row.times[to_do[0]] > since:
        yield "it became To do, and nobody was poked"


def _state(status: int) -> str:
    return TASK_WORDS.get(status, f"state {status}")  # type: ignore[call-overload,no-any-return]
