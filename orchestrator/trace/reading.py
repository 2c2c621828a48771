"""The trace, as clients read it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, NotFoundError
from orchestrator.core.fields import parse_key
from orchestrator.store import pages, trace_tables
from orchestrator.store.database import Transaction
from orchestrator.trace import event_ids, events, forgotten, places, subscriptions
from orchestrator.trace.forgotten import Forgotten


def query(transaction: Transaction, wanted: pb.QueryEventsParam) -> pb.QueryEventsResponse:
    """List events by time, then id; of an asset, a kind, a period, with some metadata, where asked."""
    table = trace_tables.events.c
    rows = events.query().where(table.channel == transaction.channel)
    asked = wanted.filter
    if asked.asset_key:
        rows = rows.where(text(events.of_asset(":key")).bindparams(key=asked.asset_key))
    if asked.asset_kind:
        rows = rows.where(table.asset_kind == asked.asset_kind)
    if asked.event_kind:
        rows = rows.where(table.kind == asked.event_kind)
    if asked.metadata:
        rows = rows.where(table.metadata.contains(dict(asked.metadata)))
    if asked.HasField("start"):
        rows = rows.where(table.created_at >= _moment(asked.start, "filter.start"))
    if asked.HasField("end"):
        rows = rows.where(table.created_at <= _moment(asked.end, "filter.end"))
    down = wanted.sort == pb.DESCENDING
    found, token = pages.read(
        transaction.connection,
        rows,
        pages.Page(wanted.page_token, wanted.page_size),
        (table.created_at, table.id),
        (down, down),
        table.asset,
    )
    return pb.QueryEventsResponse(events=events.to_messages(found), next_page_token=token)


@dataclass(frozen=True)
class Subscription:
    """An event stream that begins.

    Args:
        id: of the stream.
        position: of the last event that the subscriber has.
        forgotten_until: the latest time of the channel's events that were forgotten, None where all are kept.
    """

    id: UUID
    position: int
    forgotten_until: datetime | None


def subscribe(transaction: Transaction, event_id: str) -> Subscription | None:
    """Begin a stream after an event, or at the oldest that is kept for an empty id; None while the event has no place.

    Raises:
        NotFoundError: the channel has no such event, or not any more.
    """
    subscriptions.share(transaction.connection)
    gone = forgotten.of(transaction.connection, transaction.channel)
    position = _position_after(transaction, event_id, gone)
    if position is None:
        return None
    identity = subscriptions.begin(transaction, position)
    return Subscription(identity, position, gone.until if gone else None)


def _position_after(transaction: Transaction, event_id: str, gone: Forgotten | None) -> int | None:
    first = gone.position if gone else 0
    if not event_id:
        return first
    key = parse_key(event_id, "start_event_id")
    if gone and key == gone.event_id:
        return first
    try:
        position = places.position_of(transaction.connection, transaction.channel, key)
    except NotFoundError as error:
        if gone and event_ids.time_of(key) <= gone.until:
            raise _too_old(event_id, gone) from error
        raise
    if gone and position is not None and position < first:
        raise _too_old(event_id, gone)
    return position


def _too_old(event_id: str, gone: Forgotten) -> NotFoundError:
    return NotFoundError(
        f"event {event_id} does not exist in this channel: it is as old as what was forgotten, up to "
        f"{gone.until.isoformat(timespec='seconds')}; subscribe without start_event_id to get all that is kept, and "
        "ask for the assets themselves to know what came before"
    )


def _moment(given: Timestamp, field: str) -> datetime:
    try:
        return given.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(f"{field}: not a time between the years 1 and 9999") from error
