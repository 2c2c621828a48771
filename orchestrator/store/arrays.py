"""Arrays as Postgres takes them in binary (its source, `array_recv`), each written at once.

A statement says of each array what is in it, so nobody need look: psycopg finds the type of each list anew, of numbers
the smallest that holds them, by which it prepares the same statement again.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct("!iiIii")
_EMPTY = struct.Struct("!iiI")
_LENGTH = struct.Struct("!i").pack
_NULL = _LENGTH(-1)


class _Written(bytes):
    """An array, written."""


class _AsWritten(Dumper):
    """Hands over an array that is written."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _kind(name: str) -> type[_Written]:
    """Return the type of arrays of a type, which psycopg hands over as such."""
    oid = psycopg.adapters.types[name].array_oid
    written = type(f"_{name}s", (_Written,), {})
    psycopg.adapters.register_dumper(written, type(f"_{name}sAsWritten", (_AsWritten,), {"oid": oid}))
    return written


def _number(form: str) -> Callable[[int], bytes]:
    return struct.Struct(form).pack


def _uuid(value: UUID | str | bytes) -> bytes:
    if isinstance(value, UUID):
        return value.int.to_bytes(16)
    octets = bytes.fromhex(value.replace("-", "")) if isinstance(value, str) else value
    if len(octets) != 16:
        raise ValueError(f"{value!r} is no UUID")
    return octets


_WRITE: dict[str, Callable[[Any], bytes]] = {
    "uuid": _uuid,
    "text": lambda value: value.encode(),
    "bytea": lambda value: value,
    "int2": _number("!h"),
    "int4": _number("!i"),
    "int8": _number("!q"),
    "bool": _number("!?"),
    # Its version comes first.
    "jsonb": lambda value: b"\x01" + json.dumps(value.obj).encode(),
}
_KINDS = {name: _kind(name) for name in _WRITE}
_OIDS = {name: psycopg.adapters.types[name].oid for name in _WRITE}
_NOTHING = {name: kind(_EMPTY.pack(0, 0, _OIDS[name])) for name, kind in _KINDS.items()}
_NAMES = {"boolean": "bool", "smallint": "int2", "int": "int4", "integer": "int4", "bigint": "int8"}


class _Elements(dict[Any, bytes]):
    """Elements, each written when it is first met: few come again and again, and the same in several arrays."""

    def __init__(self, write: Callable[[Any], bytes]) -> None:
        self._write = write

    def __missing__(self, value: Any) -> bytes:
        element = self[value] = _element(self._write, value)
        return element


def _element(write: Callable[[Any], bytes], value: Any) -> bytes:
    return _NULL if value is None else _LENGTH(len(each := write(value))) + each


class Writer:
    """Writes the arrays of one statement."""

    def __init__(self) -> None:
        self._known: dict[str, _Elements] = {}

    def written(self, type_name: str, values: Sequence[Any]) -> Any:
        """Return an array written, or the values as they are where they are not of its type.

        Args:
            type_name: of its elements, as in a statement.
            values: the elements; None for NULL. A UUID may be given as its text, or as its 16 bytes.
        """
        name = _NAMES.get(type_name, type_name)
        write = _WRITE.get(name)
        if write is None or not isinstance(values, list):
            return values
        if not values:
            return _NOTHING[name]
        try:
            if isinstance(values[0], bytes) or len(values) == 1:
                # No two are the same, mostly, where there are two.
                elements = [_element(write, value) for value in values]
            else:
                known = self._known.setdefault(name, _Elements(write))
                elements = [known[value] for value in values]
        except (AttributeError, TypeError, ValueError, struct.error):
            return values
        return _KINDS[name](_HEAD.pack(1, _NULL in elements, _OIDS[name], len(values), 1) + b"".join(elements))
