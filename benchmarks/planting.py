"""Planting: many tasks by COPY, as copies of a few that the server itself registered.

All rows that bear a key of the few are read, from whichever tables there are, and written again with fresh keys: no
checkout's schema need be known here. Keys in serialized messages are replaced too; big integers (places, sequences) go
on where they ended, without a gap.
"""

import hashlib
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.sql import UUID_TEXT

_UUID_BYTES = re.compile(UUID_TEXT.pattern.encode())
_TABLES = """
    SELECT pg_class.oid, relname AS name FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
      AND relname <> 'alembic_version'
    ORDER BY relname
"""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attidentity <> '',
           EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY (indkey))
    FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


@dataclass(frozen=True)
class _Key:
    """A key in a line, to be replaced; in hexadecimal digits where a message holds it."""

    text: str
    hexadecimal: bool


@dataclass(frozen=True)
class _Place:
    """A big integer in a line, which every copy has higher by `span`."""

    value: int
    span: int


_Line = tuple["str | _Key | _Place", ...]


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    identity: bool
    primary: bool


@dataclass(frozen=True)
class _Table:
    name: str
    columns: tuple[_Column, ...]
    lines: tuple[_Line, ...]


class Template:
    """The rows of some assets.

    Args:
        connection: to the database.
        keys: of the assets; rows that name one of them are theirs, and so is what names such a row's own key.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", keys: Collection[str]) -> None:
        self._connection = connection
        self._keys = set(keys)
        self._tables = self._read()

    def copies(self, first: int, count: int) -> Mapping[str, bytes]:
        """Return the rows of some copies as COPY reads them, by table.

        Args:
            first: number of the first copy, from 1; no number may be used twice.
            count: how many.
        """
        found: dict[str, list[str]] = {table.name: [] for table in self._tables}
        for number in range(first, first + count):
            fresh = {key: _fresh(key, number) for key in self._keys}
            digits = {key: value.encode().hex() for key, value in fresh.items()}
            for table in self._tables:
                found[table.name] += (_written(line, number, fresh, digits) for line in table.lines)
        return {name: "".join(lines).encode() for name, lines in found.items() if lines}

    def copy(self, rows: Mapping[str, bytes]) -> None:
        """Write rows, in one transaction."""
        with self._connection.transaction():
            for table in self._tables:
                if table.name in rows:
                    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
                    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
                    with self._connection.cursor() as cursor, cursor.copy(command) as copy:
                        copy.write(rows[table.name])
            self._advance()

    def _advance(self) -> None:
        """Have the sequences go on after what was written."""
        for table in self._tables:
            for column in table.columns:
                if column.identity:
                    name, place = sql.Literal(table.name), sql.Literal(column.name)
                    query = sql.SQL(
                        "SELECT setval(pg_get_serial_sequence({}, {}), (SELECT coalesce(max({}), 1) FROM {}))"
                    ).format(name, place, sql.Identifier(column.name), sql.Identifier(table.name))
                    self._connection.execute(query)

    def _read(self) -> list[_Table]:
        tables = self._connection.execute(_TABLES).fetchall()
        columns = {
            name: tuple(_Column(*row) for row in self._connection.execute(_COLUMNS, [oid])) for oid, name in tables
        }
        # What belongs to the assets has keys of its own (events have), by which further rows are found.
        known = -1
        while known < len(self._keys):
            known = len(self._keys)
            for _, name in tables:
                own = [column for column in columns[name] if column.primary and column.type == "uuid"]
                for row in self._rows(name, columns[name], own):
                    self._keys.update(key for key in row if key is not None)
        found = []
        for _, name in tables:
            rows = list(self._rows(name, columns[name], columns[name]))
            if rows:
                places = self._places(name, columns[name], rows)
                lines = tuple(self._line(row, columns[name], places) for row in rows)
                found.append(_Table(name, columns[name], lines))
        return found

    def _rows(
        self, table: str, columns: Collection[_Column], chosen: Collection[_Column]
    ) -> Iterator[tuple[str | None, ...]]:
        """Yield, as text, the chosen columns of the rows that bear one of the keys."""
        bearing = [column for column in columns if column.type in ("uuid", "text")]
        if not bearing or not chosen:
            return
        condition = sql.SQL(" OR ").join(
            sql.SQL("{}::text = ANY (%(keys)s)").format(sql.Identifier(column.name)) for column in bearing
        )
        wanted = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in chosen)
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(wanted, sql.Identifier(table), condition)
        yield from self._connection.execute(query, {"keys": list(self._keys)}).fetchall()

    def _places(
        self, table: str, columns: Collection[_Column], rows: list[tuple[str | None, ...]]
    ) -> dict[str, dict[str, _Place]]:
        """Return what becomes of each big integer, by column: they go on without a gap, in the order that they have."""
        places = {}
        for number, column in enumerate(columns):
            if column.type == "bigint":
                values = sorted({int(value) for row in rows if (value := row[number]) is not None})
                query = sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(column.name), sql.Identifier(table))
                (highest,) = self._connection.execute(query).fetchone() or (0,)
                places[column.name] = {
                    # The first copy is number 1.
                    str(value): _Place(int(highest) + rank - len(values), len(values))
                    for rank, value in enumerate(values, start=1)
                }
        return places

    def _line(
        self,
        row: tuple[str | None, ...],
        columns: Collection[_Column],
        places: Mapping[str, Mapping[str, _Place]],
    ) -> _Line:
        parts: list[str | _Key | _Place] = []
        for column, value in zip(columns, row, strict=True):
            if parts:
                parts.append("\t")
            if value is None:
                parts.append("\\N")
            elif column.name in places:
                parts.append(places[column.name][value])
            elif column.type == "bytea":
                parts += ["\\\\x", *self._message(bytes.fromhex(value.removeprefix("\\x")))]
            else:
                parts += self._text(value)
        merged: list[str | _Key | _Place] = []
        for part in [*parts, "\n"]:
            if isinstance(part, str) and merged and isinstance(merged[-1], str):
                merged[-1] += part
            else:
                merged.append(part)
        return tuple(merged)

    def _message(self, message: bytes) -> Iterator[str | _Key]:
        place = 0
        for found in _UUID_BYTES.finditer(message):
            if (key := found[0].decode()) in self._keys:
                yield message[place : found.start()].hex()
                yield _Key(key, hexadecimal=True)
                place = found.end()
        yield message[place:].hex()

    def _text(self, value: str) -> Iterator[str | _Key]:
        place = 0
        for found in UUID_TEXT.finditer(value):
            if found[0] in self._keys:
                yield _escaped(value[place : found.start()])
                yield _Key(found[0], hexadecimal=False)
                place = found.end()
        yield _escaped(value[place:])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _written(line: _Line, number: int, fresh: Mapping[str, str], digits: Mapping[str, str]) -> str:
    return "".join(
        part
        if isinstance(part, str)
        else str(part.value + number * part.span)
        if isinstance(part, _Place)
        else digits[part.text]
        if part.hexadecimal
        else fresh[part.text]
        for part in line
    )


def _fresh(key: str, number: int) -> str:
    """Return the key of a copy; one that begins with its time (version 7) keeps all but its chance."""
    old = uuid.UUID(key)
    if old.version == 7:
        return str(uuid.UUID(int=old.int ^ number))
    return str(uuid.UUID(bytes=hashlib.blake2b(old.bytes + number.to_bytes(8), digest_size=16).digest(), version=4))
