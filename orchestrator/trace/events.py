"""The trace: events are written with the change they tell of, and get their place in one order after the commit.

Besides the contract's kinds of assets there are some of our own, numbered from 100 on. Existing backends stop for good
at a kind that they do not know, so `EventService` leaves them out; `GetTaskEvents` shows them.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from string import Template
from types import SimpleNamespace
from typing import NamedTuple
from uuid import UUID

from google.protobuf.message import Message
from psycopg.types.json import Jsonb
from sqlalchemy import RowMapping, Select, select, text

from orchestrator import protos as pb
from orchestrator.core.kinds import OWN_KINDS
from orchestrator.store import pages, trace_tables
from orchestrator.store.connection import Connection, Row
from orchestrator.trace import event_ids

FIELD_OF_KIND = {
    pb.ASSET_FUNCTION: "function",
    pb.ASSET_COMPUTE_PLAN: "compute_plan",
    pb.ASSET_COMPUTE_TASK: "compute_task",
    pb.ASSET_DATA_MANAGER: "data_manager",
    pb.ASSET_DATA_SAMPLE: "data_sample",
    pb.ASSET_FAILURE_REPORT: "failure_report",
    pb.ASSET_MODEL: "model",
    pb.ASSET_ORGANIZATION: "organization",
    pb.ASSET_PERFORMANCE: "performance",
    pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET: "compute_task_output_asset",
    pb.ASSET_PROFILING_STEP: "profiling_step",
}
"""The field of a message that bears the snapshot, by the kind of the asset."""

_TASK_PROFILE = OWN_KINDS
_TASK_DECLINE = OWN_KINDS + 1
_OWNFIELD_OF_KIND = {_TASK_PROFILE: "profiling_step", _TASK_DECLINE: "decline"}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KIND_OF_TYPE = {type(getattr(pb.Event(), field)): kind for kind, field in FIELD_OF_KIND.items()}


class Written(NamedTuple):
    """An event of the current transaction; its ordinal is its place among them."""

    channel: str
    ordinal: int
    kind: int
    asset_kind: int
    asset_key: str
    asset: bytes
    metadata: Mapping[str, str] | None


class Recorder:
    """The events of one transaction, in their order.

    Args:
        channel: whose they are.

    Attributes:
        sequence: the number that they share, where it was drawn before they are written.
    """

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self.events: list[Written] = []
        self.sequence: int | None = None
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self.events)

    def created(self, key: str, asset: Message) -> None:
        """Tell that an asset was created."""
        self._add(pb.EVENT_ASSET_CREATED, key, asset, None)

    def registered(self, key: str, asset_kind: int, snapshot: bytes) -> None:
        """Tell that a task was created.

        Args:
            key: of the task.
            asset_kind: the number of tasks of its kind.
            snapshot: its message, serialized.
        """
        self._append(pb.EVENT_ASSET_CREATED, asset_kind, key, snapshot, None)

    def updated(self, key: str, asset: Message, reason: str = "") -> None:
        """Tell that an asset was changed, and why where there is more to say."""
        self._add(pb.EVENT_ASSET_UPDATED, key, asset, {"reason": reason} if reason else None)

    def moved(self, key: str, asset_kind: int, snapshot: bytes, reason: str) -> None:
        """Tell that a task of any kind was moved, and why.

        Args:
            key: of the task.
            asset_kind: the number of tasks of its kind.
            snapshot: its message, serialized.
            reason: why.
        """
        self._append(pb.EVENT_ASSET_UPDATED, asset_kind, key, snapshot, {"reason": reason})

    def own(self, kind: "pb.EventKind.ValueType", key: str, asset_kind: int, asset: Message) -> None:
        """Tell of an asset of a kind that the contract does not know; clients of the contract do not see it."""
        self._add(kind, key, asset, None, asset_kind)

    def disabled(self, key: str, asset: Message) -> None:
        """Tell that an asset was disabled."""
        self._add(pb.EVENT_ASSET_DISABLED, key, asset, None)

    def profiled(self, task: str, step: pb.ProfilingStep) -> None:
        """Tell how long a step of a task took; an event of our own."""
        self._add(pb.EVENT_ASSET_CREATED, task, step, None, _TASK_PROFILE)

    def declined(self, decline: pb.Decline) -> None:
        """Tell that a task was declined; an event of our own."""
        self._add(pb.EVENT_ASSET_CREATED, decline.compute_task_key, decline, None, _TASK_DECLINE)

    def reconsidered(self, decline: pb.Decline) -> None:
        """Tell that the decline of a task was taken back; an event of our own."""
        self._add(pb.EVENT_ASSET_DISABLED, decline.compute_task_key, decline, None, _TASK_DECLINE)

    def _add(
        self,
        kind: int,
        key: str,
        asset: Message,
        metadata: Mapping[str, str] | None,
        own_kind: int | None = None,
    ) -> None:
        asset_kind = own_kind or _KIND_OF_TYPE[type(asset)]
        self._append(kind, asset_kind, key, asset.SerializeToString(), metadata)

    def _append(
        self, kind: int, asset_kind: int, key: str, snapshot: bytes, metadata: Mapping[str, str] | None
    ) -> None:
        self.events.append(Written(self._channel, self._count, kind, asset_kind, key, snapshot, metadata))
        self._count += 1

    def take(self, other: "Recorder") -> None:
        """Tell, after its own, what another tells, in the channel of the other."""
        self.events += [event._replace(ordinal=self._count + number) for number, event in enumerate(other.events)]
        self._count += len(other.events)

    def new_ids(self, now: datetime, count: int) -> list[bytes]:
        """Return the ids of the next events, so many, which a statement makes itself; the transaction has its time."""
        first, self._count = self._count, self._count + count
        return event_ids.packed_ids(now, range(first, self._count))

    def written(self) -> None:
        """Forget those that were written; more may come."""
        self.events = []

    def parameters(self, now: datetime) -> dict[str, object]:
        """Return the parameters of `WRITE`, but for the time."""
        return {
            "sequence": self.sequence,
            "ids": [UUID(bytes=each) for each in event_ids.packed_ids(now, [event.ordinal for event in self.events])],
            "kinds": [event.kind for event in self.events],
            "asset_kinds": [event.asset_kind for event in self.events],
            "event_asset_keys": [event.asset_key for event in self.events],
            "assets": [event.asset for event in self.events],
            "metadata": [event.metadata and Jsonb(event.metadata) for event in self.events],
            "channels": [event.channel for event in self.events],
        }


# Whatever writes events has the sequencer look for them.
_UNPLACED = """
    unplaced_event AS (INSERT INTO unplaced (sequence, channel, event) SELECT sequence, channel, id FROM event)
"""

_CALL = """
    call AS MATERIALIZED (
        SELECT coalesce(CAST(:sequence AS bigint), nextval('events_sequence_seq')) AS sequence
    )
"""

WRITE = Template("""
    $CALL,
    event AS (
        INSERT INTO events (id, sequence, channel, created_at, kind, asset_kind, asset_key, asset, metadata)
        OVERRIDING SYSTEM VALUE
        SELECT id, (SELECT sequence FROM call), channel, :now, kind, asset_kind, asset_key, asset, metadata
        FROM unnest(CAST(:ids AS uuid[]), CAST(:channels AS text[]), CAST(:kinds AS smallint[]),
                    CAST(:asset_kinds AS smallint[]), CAST(:event_asset_keys AS text[]), CAST(:assets AS bytea[]),
                    CAST(:metadata AS jsonb[]))
             AS event (id, channel, kind, asset_kind, asset_key, asset, metadata)
        RETURNING id, sequence, channel
    ),
    $UNPLACED
""").substitute(CALL=_CALL, UNPLACED=_UNPLACED)
"""What stands in the WITH of a statement that inserts the events of a transaction. They share the number that it
draws; their ids ascend in their order."""

CREATED = Template("""
    $CALL,
    event AS (
        INSERT INTO events (id, sequence, channel, created_at, kind, asset_kind, asset_key, asset)
        OVERRIDING SYSTEM VALUE
        SELECT event, (SELECT sequence FROM call), :channel, :now, $CREATED, :asset_kind, CAST(key AS text), asset
        FROM created
        RETURNING id, sequence, channel
    ),
    $UNPLACED
""").substitute(CALL=_CALL, CREATED=pb.EVENT_ASSET_CREATED, UNPLACED=_UNPLACED)
"""What stands in the WITH of a statement that makes assets of one kind, and their events: it tells of the rows of
`created`: event (its id), key, asset. The number that they share is in `call`, drawn unless it is given: by then the
transaction has all its locks."""

_COLUMNS = [column for column in trace_tables.events.c if column.name != "sequence"]

# Earlier releases kept the profiling steps of tasks as the contract's kind.
OF_CONTRACT = Template("""
    CASE WHEN events.asset_kind = $PROFILING_STEP
         THEN EXISTS (SELECT FROM functions
                      WHERE functions.key = CAST(events.asset_key AS uuid) AND functions.channel = events.channel)
         ELSE events.asset_kind < $OWN_KINDS END
""").substitute(PROFILING_STEP=pb.ASSET_PROFILING_STEP, OWN_KINDS=OWN_KINDS)
"""In a statement: whether a row of `events` is of a kind that the contract knows."""


def call(after: str) -> str:
    """Return what stands in a statement that makes its events itself: their number and their time, as the table `call`.

    They are taken when the statement has its locks, since who waited comes later.

    Args:
        after: the table that has them.
    """
    return f"""
        call AS MATERIALIZED (
            SELECT nextval('events_sequence_seq') AS sequence,
                   CAST(:now AS timestamptz) + (clock_timestamp() - statement_timestamp()) AS now
            FROM (SELECT count(*) FROM {after}) AS locked
        )
    """  # noqa: S608 - a name of ours


MOVED = Template("""
    event AS (
        INSERT INTO events (id, sequence, channel, created_at, kind, asset_kind, asset_key, asset, metadata)
        OVERRIDING SYSTEM VALUE
        SELECT $ID, (SELECT sequence FROM call), channel, (SELECT now FROM call), $UPDATED,
               asset_kind, CAST(key AS text), asset, metadata
        FROM moved
        RETURNING id, sequence, channel
    ),
    $UNPLACED
""").substitute(ID=event_ids.SQL, UPDATED=pb.EVENT_ASSET_UPDATED, UNPLACED=_UNPLACED)
"""What stands in the WITH of a statement that inserts events of the rows of `moved`: ordinal (from 0), channel,
asset_kind, key, asset, metadata; before it stands `call`."""


def moved_parameters(now: datetime) -> dict[str, object]:
    """Return the parameters of `MOVED` and of `call`."""
    return {**event_ids.sql_parameters(now), "now": now}


def of_asset(key: str) -> str:
    """Return what stands in a statement for the events of an asset: they are found by the index, in their order.

    Args:
        key: of the asset, a text.
    """
    # The number is the index'; two keys may have the same.
    return f"hashtextextended(asset_key, 0) = hashtextextended({key}, 0) AND asset_key = {key}"


def query() -> Select[tuple[object, ...]]:
    """Return the query of all events of the contract's kinds, to be narrowed."""
    return select(*_COLUMNS).where(text(OF_CONTRACT))


def to_messages(rows: Iterable[RowMapping]) -> list[pb.Event]:
    """Return rows as messages."""
    return [to_message(row) for row in rows]


def of_task(
    connection: Connection, channel: str, task: str, page: pages.Page, own_type: Callable[[int], type[Message] | None]
) -> tuple[list[pb.TaskEvent], str]:
    """Return a page of the events of our own kinds of a task, by time, then id, and the token of the next page.

    Args:
        connection: inside a transaction.
        channel: whose events.
        task: its key.
        page: which part of them.
        own_type: from the number of a kind of asset to its message, where a kind of work brings it; else None.
    """
    table = trace_tables.events.c
    own = (table.asset_kind >= OWN_KINDS) | (table.asset_kind == pb.ASSET_PROFILING_STEP)
    told = text(of_asset(":task")).bindparams(task=task)
    rows = select(*_COLUMNS).where(table.channel == channel, told, own)
    found, token = pages.read(connection, rows, page, (table.created_at, table.id), weight=table.asset)
    return [_to_task_event(row, own_type(row["asset_kind"])) for row in found], token


_LAST_OF = f"""
    FROM events WHERE channel = :channel AND {of_asset(":key")} AND asset_kind = :kind
    ORDER BY created_at DESC, id DESC LIMIT 1
"""
_LAST = text(f"SELECT created_at, metadata ->> 'reason' AS reason {_LAST_OF}")


def last_of(connection: Connection, channel: str, key: str, asset_kind: int) -> tuple[datetime, str] | None:
    """Return when the last event of an asset was, and its reason if it has one; None where all were forgotten.

    Args:
        connection: inside a transaction.
        channel: whose events.
        key: of the asset.
        asset_kind: the kind of the asset; others may share the key.
    """
    row = connection.execute(_LAST, {"channel": channel, "key": key, "kind": asset_kind}).one_or_none()
    return None if row is None else (row.created_at, row.reason or "")


_SNAPSHOT = text(f"SELECT asset {_LAST_OF}")


def last_snapshot(connection: Connection, channel: str, key: str, asset_kind: int) -> bytes | None:
    """Return what the last event of an asset tells of it, serialized; the arguments are those of `last_of`."""
    asked = {"channel": channel, "key": key, "kind": asset_kind}
    found: bytes | None = connection.execute(_SNAPSHOT, asked).scalar_one_or_none()
    return found


def _to_task_event(row: RowMapping, own: type[Message] | None) -> pb.TaskEvent:
    event = pb.TaskEvent(id=str(row["id"]), event_kind=row["kind"])
    event.timestamp.FromDatetime(row["created_at"])
    if own is not None:
        event.other.Pack(own.FromString(row["asset"]))
        return event
    field = _OWNFIELD_OF_KIND.get(row["asset_kind"], "profiling_step")
    getattr(event, field).ParseFromString(row["asset"])
    return event


def to_message(row: RowMapping) -> pb.Event:
    """Return a row as a message, its snapshot included."""
    event = header(SimpleNamespace(**row))
    getattr(event, FIELD_OF_KIND[row["asset_kind"]]).ParseFromString(row["asset"])
    return event


def header(row: Row) -> pb.Event:
    """Return a row as a message without its snapshot."""
    event = pb.Event(
        id=str(row.id),
        asset_key=row.asset_key,
        asset_kind=row.asset_kind,
        event_kind=row.kind,
        channel=row.channel,
        metadata=row.metadata or {},
    )
    # By hand: `FromDatetime` takes as long as all the rest, for each event of a replay.
    since = row.created_at - _EPOCH
    event.timestamp.seconds = since.days * 86_400 + since.seconds
    event.timestamp.nanos = since.microseconds * 1000
    return event
