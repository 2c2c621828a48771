"""Pages of lists that have numbers: two statements a page, however many rows it has.

Rows may have megabytes. A page is read a few of them at once, and costs a statement more for each.
"""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from sqlalchemy import Subquery, Table, case, false, func, select

from orchestrator.engine.transaction import Transaction
from orchestrator.executions.lists.listing import Listing
from orchestrator.store.connection import Row


@dataclass(frozen=True)
class Listed:
    """A page of a list.

    Args:
        count: rows of the whole list.
        page: the number of the page.
        rows: those of the page; they come while the transaction lasts.
    """

    count: int
    page: int
    rows: Iterator[Row]


@dataclass(frozen=True)
class Source:
    """What a list is of.

    Args:
        table: with the columns that it is filtered and sorted by.
        columns: those of a row.
        unique: the one that breaks ties.
        heavy: those of a row that may have megabytes.
    """

    table: Table
    columns: Sequence[str]
    unique: str
    heavy: Sequence[str]


def read(transaction: Transaction, asked: Listing, source: Source) -> Listed:
    """Return a page of a table.

    Args:
        transaction: of the caller.
        asked: which.
        source: of what.

    Raises:
        NoPageError: there is no such page.
    """
    columns = source.table.c
    query = select(*columns).where(columns["channel"] == transaction.channel)
    for name, value in asked.filters.items():
        # Postgres keeps no text that has a NUL.
        query = query.where(false() if "\0" in value else columns[name] == value)
    count = int(transaction.connection.execute(query.with_only_columns(func.count())).scalar_one())
    number = asked.number(count)
    page = query.order_by(*_order(columns, asked, source)).limit(asked.size).offset((number - 1) * asked.size)
    return Listed(count, number, _rows(transaction, page.subquery("page"), asked, source))


_BYTES_AT_ONCE = 8 * 1024 * 1024


def _rows(transaction: Transaction, page: Subquery, asked: Listing, source: Source) -> Iterator[Row]:
    """Yield the rows of a page: those of its first megabytes by one statement, then some megabytes by each.

    A row that changes meanwhile is as it is then, and one that is gone is left out.
    """
    order = _order(page.c, asked, source)
    size = reduce(operator.add, (func.coalesce(func.octet_length(page.c[name]), 0) for name in source.heavy))
    fits = func.sum(size).over(order_by=order, rows=(None, 0)) <= _BYTES_AT_ONCE
    shown = (
        case((fits, page.c[name])).label(name) if name in source.heavy else page.c[name] for name in source.columns
    )
    more = (page.c[source.unique].label("key"), size.label("size"), fits.label("fits"))
    rows = transaction.connection.execute(select(*shown, *more).order_by(*order)).all()
    yield from (row for row in rows if row.fits)
    for keys in _batches([row for row in rows if not row.fits]):
        columns = source.table.c
        key = columns[source.unique]
        batch = select(*(columns[name] for name in source.columns), key.label("key")).where(
            columns["channel"] == transaction.channel, key.in_(keys)
        )
        found = {row.key: row for row in transaction.connection.execute(batch)}
        # None of them stays longer than it is needed.
        yield from (found.pop(each) for each in keys if each in found)


def _batches(rows: Sequence[Row]) -> Iterator[list[Any]]:
    """Yield the keys of rows that are fetched together."""
    keys: list[Any] = []
    size = 0
    for row in rows:
        if keys and size + row.size > _BYTES_AT_ONCE:
            yield keys
            keys, size = [], 0
        keys.append(row.key)
        size += row.size
    if keys:
        yield keys


def _order(columns: Any, asked: Listing, source: Source) -> list[Any]:
    named = (columns[name[1:]].desc() if name.startswith("-") else columns[name] for name in dict.fromkeys(asked.sort))
    return [*named, columns[source.unique]]
