"""Pages of a list: each begins after the last row of the one before, so rows added meanwhile move nothing."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, Uuid, func, select, tuple_

from orchestrator.core.errors import BadRequestError
from orchestrator.store.connection import Connection

DEFAULT_SIZE = 50
LARGEST_SIZE = 10_000

MOST_BYTES = 3 * 1024 * 1024
"""What the messages of a page may take, but where one alone takes more; gRPC's clients accept 4 MiB by themselves."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """What a client asked for.

    Args:
        token: where the page begins; empty for the first.
        size: most rows; 0 means 50, and more than 10,000 are not given at once.
    """

    token: str
    size: int

    @property
    def limit(self) -> int:
        """Most rows that the page may have."""
        return min(self.size or DEFAULT_SIZE, LARGEST_SIZE)


def read(
    connection: Connection,
    query: Select[Any],
    page: Page,
    order: Sequence[ColumnElement[Any]],
    descending: Sequence[bool] | None = None,
    weight: ColumnElement[bytes] | None = None,
) -> tuple[Sequence[RowMapping], str]:
    """Return the rows of a page, and the token of the next one, empty at the end.

    Args:
        connection: inside a transaction.
        query: all rows; must select the columns of `order`.
        page: which part of them.
        order: the time of creation, then columns that make a row unique.
        descending: one for each column of `order`; all ascend by default.
        weight: the column of messages, selected too, where they may be large: the page ends where they are too many.

    Raises:
        BadRequestError: the token is not one of ours.
    """
    down = descending or [False] * len(order)
    if page.token:
        query = query.where(_after(order, down, _decode(page.token, order)))
    query = query.order_by(*_directed(order, down)).limit(page.limit + 1)
    found = connection.execute(query if weight is None else _light(query, order, down, weight)).mappings().all()
    rows = found[: page.limit]
    if not rows or len(rows) == (len(found) if weight is None else rows[0][_FOUND]):
        return rows, ""
    return rows, _encode([rows[-1][column.name] for column in order])


_FOUND = "rows_of_page"


def _light(
    query: Select[Any], order: Sequence[ColumnElement[Any]], down: Sequence[bool], weight: ColumnElement[bytes]
) -> Select[Any]:
    """Return the first rows of a query whose messages are not too many, and how many there would be."""
    rows = query.subquery("rows")
    directed = _directed([rows.c[column.name] for column in order], down)
    size = func.octet_length(rows.c[weight.name])
    before = func.sum(size).over(order_by=directed, rows=(None, 0)) - size
    weighed = select(rows, before.label("bytes_before"), func.count().over().label(_FOUND)).subquery("weighed")
    last = _directed([weighed.c[column.name] for column in order], down)
    return select(weighed).where(weighed.c.bytes_before < MOST_BYTES).order_by(*last)


def _directed(order: Sequence[ColumnElement[Any]], down: Sequence[bool]) -> list[ColumnElement[Any]]:
    return [column.desc() if desc else column for column, desc in zip(order, down, strict=True)]


def _after(order: Sequence[ColumnElement[Any]], down: Sequence[bool], last: Sequence[Any]) -> ColumnElement[bool]:
    if len(set(down)) == 1:
        row, end = tuple_(*order), tuple_(*last)
        after: ColumnElement[bool] = row.__lt__(end) if down[0] else row.__gt__(end)
        return after
    column, value = order[0], last[0]
    beyond: ColumnElement[bool] = column.__lt__(value) if down[0] else column.__gt__(value)
    if len(order) == 1:
        return beyond
    level: ColumnElement[bool] = column.__eq__(value)
    return beyond | (level & _after(order[1:], down[1:], last[1:]))


def _encode(values: Sequence[Any]) -> str:
    created_at, *rest = values
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    text = "/".join(map(str, (microseconds, *rest)))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode(token: str, order: Sequence[ColumnElement[Any]]) -> list[Any]:
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        microseconds, *rest = text.split("/", len(order) - 1)
        created_at = _EPOCH + timedelta(microseconds=int(microseconds))
        values = [
            UUID(value) if isinstance(column.type, Uuid) else _text(value)
            for column, value in zip(order[1:], rest, strict=True)
        ]
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadRequestError("page_token: not a token of this list; begin again without one") from error
    return [created_at, *values]


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("NUL")
    return value
