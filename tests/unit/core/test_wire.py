"""Protobuf's encoding, where it is written and read by hand, beside what the library makes of it."""

from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core import wire

TASKS = pb.RegisterTasksParam.DESCRIPTOR.fields_by_name["tasks"].number
PLANS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=40)


@given(st.binary(max_size=70_000))
def test_a_field_is_written_as_the_library_writes_it(value: bytes):
    number = descriptor_pb2.UninterpretedOption.DESCRIPTOR.fields_by_name["string_value"].number
    assert wire.field(number, value) == descriptor_pb2.UninterpretedOption(string_value=value).SerializeToString()


@given(PLANS, st.integers(1, 2000))
def test_the_parts_of_a_list_are_the_list(names: list[str], size: int):
    whole = pb.RegisterTasksParam(tasks=[pb.NewComputeTask(key=name) for name in names])
    body = whole.SerializeToString()
    parts = list(wire.cut(body, TASKS, size))
    assert b"".join(parts) == body
    assert all(len(part) >= size for part in parts[:-1])
    assert [task.key for part in parts for task in pb.RegisterTasksParam.FromString(part).tasks] == names


@given(PLANS, st.binary(max_size=50), st.integers(1, 500))
def test_what_is_no_list_is_left_to_who_parses_it(names: list[str], odd: bytes, size: int):
    listed = pb.RegisterTasksParam(tasks=[pb.NewComputeTask(key=name) for name in names]).SerializeToString()
    for body in (listed + odd, odd + listed, listed[: len(listed) // 2] + odd):
        parts = list(wire.cut(body, TASKS, size))
        assert b"".join(parts) == body
        assert all(parts) or not body


def test_a_length_without_end_ends_the_cutting():
    body = wire.field(TASKS, b"") + b"\x0a" + b"\xff" * 1_000_000
    assert list(wire.cut(body, TASKS, 1)) == [body[:2], body[2:]]
