"""Arrays are written as psycopg would write them, where their elements are of their type."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.json import Jsonb

from orchestrator.store import arrays

ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids(),
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "bytea": st.binary(),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "int": st.integers(2**15, 2**31 - 1),
    "bigint": st.integers(2**31, 2**63 - 1),
    "boolean": st.booleans(),
    "jsonb": st.dictionaries(st.text(), st.text()).map(Jsonb),
}


def dumped(value: Any) -> tuple[bytes, int]:
    transformer = Transformer()
    (data,) = transformer.dump_sequence([value], [PyFormat.BINARY])
    return bytes(data), transformer.types[0]


@pytest.mark.parametrize("type_name", ELEMENTS)
@given(data=st.data())
def test_an_array_is_what_psycopg_makes_of_a_list(type_name: str, data: st.DataObject):
    first = data.draw(ELEMENTS[type_name])
    values = [first, *data.draw(st.lists(st.none() | ELEMENTS[type_name], max_size=20))]
    written = arrays.Writer().written(type_name, values)
    assert isinstance(written, bytes)
    assert dumped(written) == dumped(values)


@given(st.lists(st.none() | st.uuids(), min_size=1))
def test_a_uuid_may_be_given_as_its_text_or_its_bytes(keys: list[UUID | None]):
    writer = arrays.Writer()
    written = writer.written("uuid", keys)
    assert writer.written("uuid", [key and str(key) for key in keys]) == written
    assert writer.written("uuid", [key and key.bytes for key in keys]) == written


def test_a_list_of_anything_else_is_left_to_psycopg():
    for type_name, values in (
        ("uuid", ["0b5f0a3c-0000-4000-8000"]),
        ("uuid", [b"0b5f0a3c"]),
        ("text", [1]),
        ("smallint", [2**15]),
        ("bytea", [5]),
        ("jsonb", [{}]),
        ("text", ("a", "b")),
    ):
        assert arrays.Writer().written(type_name, values) is values


@pytest.mark.parametrize("type_name", ELEMENTS)
def test_an_empty_array_has_its_type(type_name: str):
    data, oid = dumped(arrays.Writer().written(type_name, []))
    assert data[:8] == bytes(8)
    assert oid == dumped(arrays.Writer().written(type_name, [None]))[1]
