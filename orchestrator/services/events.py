"""The trace, as clients read it."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.core.validation import parse_key
from orchestrator.store import events, pages, schema
from orchestrator.store.database import Transaction


def query(transaction: Transaction, wanted: pb.QueryEventsParam) -> pb.QueryEventsResponse:
    """List events by time, then id; of an asset, a kind, a period, with some metadata, where asked."""
    table = schema.events.c
    rows = events.query().where(table.channel == transaction.channel)
    asked = wanted.filter
    if asked.asset_key:
        rows = rows.where(table.asset_key == asked.asset_key)
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
    )
    return pb.QueryEventsResponse(events=events.to_messages(found), next_page_token=token)


def position_of(transaction: Transaction, event_id: str) -> int | None:
    """Return where to resume after an event: its place, None while it has none, 0 for an empty id.

    Raises:
        NotFoundError: the channel has no such event.
    """
    if not event_id:
        return 0
    return events.position_of(transaction.connection, transaction.channel, parse_key(event_id, "start_event_id"))


def _moment(given: Timestamp, field: str) -> datetime:
    try:
        return given.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(f"{field}: not a time between the years 1 and 9999") from error
