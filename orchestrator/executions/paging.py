"""Pages of lists that have numbers: two statements a page, however many rows it has."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, false, func

from orchestrator.engine.transaction import Transaction
from orchestrator.executions.listing import Listing
from orchestrator.store.connection import Row


@dataclass(frozen=True)
class Listed:
    """A page of a list.

    Args:
        count: rows of the whole list.
        page: the number of the page.
        rows: those of the page.
    """

    count: int
    page: int
    rows: list[Row]


def read(
    transaction: Transaction,
    asked: Listing,
    query: Select[Any],
    table: Table,
    unique: ColumnElement[Any],
) -> Listed:
    """Return a page of a table by two statements.

    Args:
        transaction: of the caller.
        asked: which.
        query: selects what a row needs.
        table: with the columns that it is filtered and sorted by.
        unique: the one that breaks ties.

    Raises:
        NoPageError: there is no such page.
    """
    columns = table.c
    query = query.where(columns["channel"] == transaction.channel)
    for name, value in asked.filters.items():
        # Postgres keeps no text that has a NUL.
        query = query.where(false() if "\0" in value else columns[name] == value)
    counted = query.with_only_columns(func.count())
    count = int(transaction.connection.execute(counted).scalar_one())
    number = asked.number(count)
    order = [columns[name[1:]].desc() if name.startswith("-") else columns[name] for name in dict.fromkeys(asked.sort)]
    rows = query.order_by(*order, unique).limit(asked.size).offset((number - 1) * asked.size)
    return Listed(count, number, list(transaction.connection.execute(rows).all()))
