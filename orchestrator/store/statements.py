"""What statements of all rooms are made of."""

from collections.abc import Collection
from string import Template
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, Uuid, any_, literal, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.core.states import SQL_NAMES


def any_key(keys: Collection[UUID]) -> Any:
    """Return the right side of `column == any_key(keys)`: one parameter, however many keys."""
    return any_(literal(list(keys), ARRAY(Uuid)))


def few(name: str) -> str:
    """Return what stands in a statement for the keys of a parameter, an array: a table of one column, `key`.

    The limit is all of them. Of an array that it does not know Postgres expects ten keys, and so plans the statement
    anew each time; of ten with a limit it expects one.

    Args:
        name: of the parameter, and with `_key` behind it of the table.
    """
    array = f"CAST(:{name} AS uuid[])"
    return f"(SELECT key FROM unnest({array}) AS each (key) LIMIT cardinality({array})) AS {name}_key"  # noqa: S608


def each(table: str, name: str) -> str:
    """Return what stands in a statement for the rows of a table under the keys of a parameter, by the table's own name.

    Each is looked up by itself: where one row is enough, Postgres would rather look through the whole table.

    Args:
        table: the table.
        name: of the parameter, an array.
    """
    one = f"SELECT {table}.* FROM {table} WHERE {table}.key = {name}_key.key OFFSET 0"  # noqa: S608 - names of ours
    return f"{few(name)} CROSS JOIN LATERAL ({one}) AS {table}"


def statement(sql: str, **parts: str) -> TextClause:
    """Return a statement in which `$NAME` stands for a state (`core.states.SQL_NAMES`), or for one of the parts.

    The numbers are written into the statement, not bound to it: an index over some states is used only then.

    Args:
        sql: with `$NAME`s and `:parameters`.
        parts: what other names stand for; constants of our own, with names of states in them perhaps.

    Raises:
        KeyError: a name stands for nothing.
    """
    # A part may hold a part.
    while "$" in sql:
        sql = Template(sql).substitute(SQL_NAMES, **parts)
    return text(sql)
