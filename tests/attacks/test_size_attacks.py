"""Requests that are small on the wire and large once they are parsed; each is made for every type of request."""

import ctypes
import gc
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from orchestrator import protos as pb
from orchestrator.rpc.sizes import parsed_size
from orchestrator.settings import ServerSettings
from tests.kit.messages import new_key

AMOUNTS = (1, 5, 4097)
"""One more than fits into a list that doubled is the worst."""
VARINT, LENGTH, GROUP = 0, 2, 3
UNKNOWN = 1000
DEPTH = 4

REQUESTS = sorted(
    {
        method.input_type.full_name: method.input_type
        for module in vars(pb).values()
        if hasattr(module, "DESCRIPTOR") and hasattr(module.DESCRIPTOR, "services_by_name")
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }.values(),
    key=lambda request: request.name,
)


class Mallinfo(ctypes.Structure):
    """What glibc says of its memory (mallinfo2)."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")] + [
        (name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


LIBC = ctypes.CDLL(None)
LIBC.mallinfo2.restype = Mallinfo


def allocated() -> int:
    """Return the bytes that this process has allocated."""
    told = LIBC.mallinfo2()
    return int(told.uordblks + told.hblkhd)


def varint(number: int, spare: int = 0) -> bytes:
    """Return a number as it is written, with bytes more than it needs."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F)
    parts += [0] * spare
    return bytes(part | 0x80 for part in parts[:-1]) + bytes(parts[-1:])


def field(number: int, content: bytes, spare: int = 0) -> bytes:
    return varint(number << 3 | LENGTH, spare) + varint(len(content), spare) + content


def paths(message: Descriptor, depth: int = DEPTH) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield the ways from a message to what may be inside it."""
    for inner in message.fields:
        yield (inner,)
        if inner.message_type and depth > 1:
            for path in paths(inner.message_type, depth - 1):
                yield (inner, *path)


def leaf(last: FieldDescriptor, index: int) -> bytes:
    """Return the shortest field, or the entry of a map under a key of its own."""
    if last.message_type and last.message_type.GetOptions().map_entry:
        return field(last.number, field(1, b"%x" % index))
    if last.message_type or last.type in (last.TYPE_STRING, last.TYPE_BYTES):
        return field(last.number, b"")
    if last.is_packed:
        return field(last.number, b"\1" * 100)
    return varint(last.number << 3 | VARINT) + b"\1"


def along(path: tuple[FieldDescriptor, ...], last: bytes) -> bytes:
    for step in reversed(path):
        last = field(step.number, last)
    return last


def shapes(request: Descriptor, amount: int) -> Iterator[tuple[str, bytes]]:
    """Yield what many of something make of a request, by what is there many times."""
    for path in paths(request):
        way = ".".join(step.name for step in path)
        for many in range(len(path)):
            repeated = b"".join(along(path[many:-1], leaf(path[-1], index)) for index in range(amount))
            yield f"{way} from {path[many].name}", along(path[:many], repeated)
        number = path[-1].number
        yield f"{way} empty", along(path[:-1], field(number, b"") * amount)
        yield f"{way} of a byte", along(path[:-1], field(number, b"1") * amount)
        yield f"{way} spelled out", along(path[:-1], field(number, b"", spare=2) * amount)
        siblings = [inner for inner in path[-1].containing_type.fields if inner.type == inner.TYPE_MESSAGE] or [
            path[-1]
        ]
        yield f"{way} in turn", along(path[:-1], b"".join(field(inner.number, b"") for inner in siblings) * amount)
    known = request.fields[0].number if request.fields else 1
    group = varint(UNKNOWN << 3 | GROUP) + varint(UNKNOWN << 3 | GROUP + 1)
    for name, unknown in {
        "numbers": varint(UNKNOWN << 3 | VARINT) + b"\1",
        "texts": field(UNKNOWN, b""),
        "groups": group,
        "groups in groups": varint(UNKNOWN << 3 | GROUP) + group + varint(UNKNOWN << 3 | GROUP + 1),
    }.items():
        yield f"unknown {name}", unknown * amount
        yield f"unknown {name} between known ones", (field(known, b"") + unknown) * amount


def taken(parse: Callable[[bytes], object], body: bytes) -> int | None:
    """Return the bytes that a parsed request takes; None if it cannot be parsed."""
    before = allocated()
    try:
        parsed = parse(body)
    except DecodeError:
        return None
    after = allocated()
    del parsed
    return after - before


# What Python itself takes for an object, and upb ahead, whatever it holds.
SPARE = 64 * 1024


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda request: request.name)
def test_no_request_takes_more_than_it_is_said_to(request_type: Descriptor):
    request = GetMessageClass(request_type)
    parsed = 0
    gc.disable()
    try:
        for amount in AMOUNTS:
            for name, body in shapes(request_type, amount):
                if (size := taken(request.FromString, body)) is not None:
                    parsed += 1
                    assert size <= parsed_size(request, body) + SPARE, f"{amount} of {name}"
    finally:
        gc.enable()
    assert parsed


def test_a_hundred_thousand_tasks_fit_into_what_a_server_takes_by_default():
    plan, function = new_key(), new_key()
    task = pb.NewComputeTask(key=new_key(), function_key=function, compute_plan_key=plan, worker="org-1")
    for index in range(4):
        task.metadata[f"substrafl_{index}"] = "round 12"
        parent = pb.ParentTaskOutputRef(parent_task_key=new_key(), output_identifier="model")
        task.inputs.add(identifier="shared", parent_task_output=parent)
    task.outputs["model"].permissions.authorized_ids.extend(["org-1", "org-2"])
    body = pb.RegisterTasksParam(tasks=[task] * 100_000).SerializeToString()
    assert len(body) > 40 * 1024 * 1024
    assert parsed_size(pb.RegisterTasksParam, body) < ServerSettings.model_fields["parsed_bytes"].default
