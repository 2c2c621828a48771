"""Every call: a lasting fault never answers UNKNOWN, UNAVAILABLE or INTERNAL, whatever a client sends."""

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator import protos as pb
from tests.kit.messages import (
    address,
    models,
    new_data_manager,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_performance,
    new_plan,
    new_task,
    profiling_step,
    samples,
    shared_with,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization, task_action
from tests.kit.transports import METHODS, TIMEOUT_SECONDS

MEBIBYTE = 1024 * 1024
RETRIED = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
ODD_STRINGS = [
    b"",
    b"\0",
    b"a\0b",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a lone surrogate
    b"org-1",
    b"'; DROP TABLE tasks; --",
    b"%s %d {} \\",
    "\U0001f9ec\u202e\ufeff\u0300\U0010ffff".encode(),
    b"x" * 101,
    b"0" * 64,
    b"https://store.example/asset",
]


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def delimited(number: int, content: bytes) -> bytes:
    return tag(number, 2) + varint(len(content)) + content


def random_message(random: Random, descriptor: Descriptor, depth: int = 3) -> bytes:
    """Encode a message by hand: right fields with odd values, now and then a wrong or a broken one."""
    parts = [
        random_field(random, field, depth) for field in descriptor.fields for _ in range(random.choice([0, 1, 1, 2]))
    ]
    return b"".join(parts)


def random_field(random: Random, field: FieldDescriptor, depth: int) -> bytes:
    if random.random() < 0.03:
        return random.randbytes(random.randrange(12))
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        content = random_message(random, field.message_type, depth - 1) if depth else b""
        return delimited(field.number, content)
    if field.type == FieldDescriptor.TYPE_STRING:
        return delimited(field.number, random.choice([*ODD_STRINGS, new_key().encode()]))
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return tag(field.number, 5) + random.randbytes(4)
    return tag(field.number, 0) + varint(random.choice([0, 1, 2, 3, 8, 99, 2**31, 2**32 - 1, 2**64 - 1]))


def answer_to(transport: grpc.Channel, method: MethodDescriptor, organization: Organization, body: bytes) -> Any:
    """Send bytes to a method; of a stream, read the first message."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    if not method.server_streaming:
        call = transport.unary_unary(path)
        return call(body, metadata=organization.metadata, timeout=TIMEOUT_SECONDS)
    stream = transport.unary_stream(path)(body, metadata=organization.metadata, timeout=TIMEOUT_SECONDS)
    try:
        return next(stream)
    finally:
        stream.cancel()


def error_of(call: Callable[[], Any]) -> grpc.RpcError | None:
    try:
        call()
    except grpc.RpcError as error:
        return error
    return None


def check_clean(transport: grpc.Channel, method: MethodDescriptor, organization: Organization, body: bytes) -> None:
    """Check that a request is answered, or refused with a code of the contract."""
    error = error_of(lambda: answer_to(transport, method, organization, body))
    if error is not None:
        told = f"{error.code()} {error.details()!r} to {method.name} {body[:200]!r}"
        assert error.code() not in {*RETRIED, grpc.StatusCode.INTERNAL}, told
        assert re.match(r"OE\d{4}", error.details()), told


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_random_requests_get_a_clean_answer(transport: grpc.Channel, org: Organization, method: MethodDescriptor):
    random = Random(method.full_name)
    for _ in range(10):
        check_clean(transport, method, org, random.randbytes(random.randrange(1, 200)))
    for _ in range(30):
        check_clean(transport, method, org, random_message(random, method.input_type))
    health = health_pb2_grpc.HealthStub(transport).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    "text",
    ["naïve", "数据科学", "\U0001f9ec" * 100, "e\u0301", "\u202etfel", "\ufeff", "\U0010ffff", "\x01\x7f", "''\"\\"],
)
def test_any_unicode_text_is_kept(org: Organization, text: str):
    plan = org.register_plan(name=text, tag=text, metadata={text: text})
    assert org.plan(plan) == plan
    assert (plan.name, plan.tag, plan.metadata) == (text, text, {text: text})
    (event,) = org.events(asset_key=plan.key)
    assert event.compute_plan == plan
    identifier = pb.FunctionInput(kind=pb.ASSET_MODEL)
    function = org.send(new_function(inputs={text: identifier}))
    assert function.inputs == {text: identifier}


@pytest.mark.parametrize(
    "changes",
    [{"name": "a\0b"}, {"tag": "\0"}, {"metadata": {"\0": "value"}}, {"metadata": {"key": "a\0b"}}, {"key": "\0"}],
)
def test_a_nul_is_kept_or_refused_as_invalid(org: Organization, changes: dict[str, Any]):
    request = new_plan(**changes)
    error = error_of(lambda: org.send(request))
    if error is None:
        plan = org.plan(request)
        assert (plan.name, plan.tag, plan.metadata) == (request.name, request.tag, request.metadata)
    else:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("OE0101")


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetComputePlanParam(key="\0"),
        pb.GetFailureReportParam(asset_key="\0"),
        pb.QueryPlansParam(filter=pb.PlanQueryFilter(owner="\0")),
        pb.QueryTasksParam(filter=pb.TaskQueryFilter(worker="\0", function_key="\0", compute_plan_key="\0")),
        pb.QueryTasksParam(filter=pb.TaskQueryFilter(function_key="no key")),
        pb.QueryTasksParam(filter=pb.TaskQueryFilter(status=99)),
        pb.QueryFunctionsParam(filter=pb.FunctionQueryFilter(compute_plan_key="no key")),
        pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=["no key", "\0"])),
        pb.QueryPerformancesParam(filter=pb.PerformanceQueryFilter(compute_task_key="\0")),
        pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key="\0", metadata={"\0": "\0"})),
        pb.QueryEventsParam(sort=99),
        pb.SubscribeToEventsParam(start_event_id="\0"),
    ],
    ids=lambda request: request.DESCRIPTOR.name,
)
def test_an_odd_question_gets_a_clean_answer(transport: grpc.Channel, org: Organization, request_: Any):
    (method,) = (method for method in METHODS if method.input_type is request_.DESCRIPTOR)
    check_clean(transport, method, org, request_.SerializeToString())


def string_paths(descriptor: Descriptor, depth: int = 3) -> Iterator[list[FieldDescriptor]]:
    """Yield the way to each string of a message, map keys and values included."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield [field]
        elif field.message_type and depth:
            for path in string_paths(field.message_type, depth - 1):
                yield [field, *path]


def planted(request: Any, path: list[FieldDescriptor], text: str) -> bytes:
    """Encode a request with a text in place of the string at the end of a path, or as one more of them."""
    first, *rest = path
    is_map = first.message_type and first.message_type.GetOptions().map_entry
    if rest and first.is_repeated and not is_map:
        (item,) = getattr(request, first.name)
        return delimited(first.number, item.SerializeToString() + at_the_end_of(rest, text))
    return request.SerializeToString() + at_the_end_of(path, text)


def at_the_end_of(path: list[FieldDescriptor], text: str) -> bytes:
    content = text.encode()
    for field in reversed(path):
        content = delimited(field.number, content)
    return content


REQUESTS = {
    "organization": lambda org: pb.RegisterOrganizationParam(),
    "plan": lambda org: new_plan(metadata={"k": "v"}),
    "function": lambda org: new_function(),
    "data manager": lambda org: new_data_manager(),
    "data sample": lambda org: samples(new_data_sample(org.register_data_manager())),
    "task": lambda org: tasks(new_task(org.register_function(), org.register_plan())),
    "start": lambda org: task_action(org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT"), pb.TASK_ACTION_EXECUTING),
    "end": lambda org: task_action(org.task_in("STATUS_EXECUTING"), pb.TASK_ACTION_CANCELED),
    "model": lambda org: models(new_model(org.task_in("STATUS_EXECUTING"))),
    "old model": lambda org: new_model(org.task_in("STATUS_EXECUTING")),
    "performance": lambda org: new_performance(org.task_in("STATUS_EXECUTING")),
    "disabled output": lambda org: pb.DisableOutputParam(
        compute_task_key=org.task_in("STATUS_DONE").key, identifier="model"
    ),
    "failure": lambda org: task_failure(org.task_in("STATUS_EXECUTING")),
    "profiling": lambda org: profiling_step(org.register_function()),
    "image": lambda org: pb.UpdateFunctionParam(key=org.register_function().key, name="name", image=address()),
    "renamed plan": lambda org: pb.UpdateComputePlanParam(key=org.register_plan().key, name="name"),
    "renamed manager": lambda org: pb.UpdateDataManagerParam(key=org.register_data_manager().key, name="name"),
}


@pytest.mark.parametrize("text", ["a\0b", "\U0010ffff\u202e", "x" * 100_000], ids=["NUL", "Unicode", "long"])
@pytest.mark.parametrize("name", REQUESTS)
def test_an_odd_text_in_any_place_gets_a_clean_answer(transport: grpc.Channel, org: Organization, name: str, text: str):
    descriptor = REQUESTS[name](org).DESCRIPTOR
    (method,) = (method for method in METHODS if method.input_type is descriptor)
    for path in string_paths(descriptor):
        check_clean(transport, method, org, planted(REQUESTS[name](org), path, text))


def test_timestamps_out_of_every_range_get_a_clean_answer(transport: grpc.Channel, org: Organization):
    (method,) = (method for method in METHODS if method.name == "QueryEvents")
    for seconds in (-(2**63) % 2**64, 2**63 - 1, -62_135_596_801 % 2**64, 253_402_300_800):
        for nanoseconds in (0, 999_999_999, 2**31 - 1, -1 % 2**64):
            stamp = tag(1, 0) + varint(seconds) + tag(2, 0) + varint(nanoseconds)
            for bound in (5, 6):
                check_clean(transport, method, org, delimited(3, delimited(bound, stamp)))


def test_ten_thousand_metadata_entries(org: Organization):
    metadata = {f"key {number}": "v" * 100 for number in range(10_000)}
    plan = org.register_plan(metadata=metadata)
    assert plan.metadata == metadata
    assert org.plan(plan) == plan


@pytest.mark.parametrize("size", [5 * MEBIBYTE, 64 * MEBIBYTE])
def test_a_request_of_up_to_64_mebibytes_is_accepted(transport: grpc.Channel, org: Organization, size: int):
    body = new_plan().SerializeToString()
    padding = size - len(body) - len(tag(1000, 2)) - len(varint(size))
    body += delimited(1000, bytes(padding))  # a field that a newer client may know
    assert len(body) == size
    (method,) = (method for method in METHODS if method.name == "RegisterPlan")
    assert answer_to(transport, method, org, body)


def test_a_request_of_65_mebibytes_is_refused_at_once(transport: grpc.Channel, org: Organization):
    (method,) = (method for method in METHODS if method.name == "RegisterPlan")
    with pytest.raises(grpc.RpcError) as caught:
        answer_to(transport, method, org, delimited(1000, bytes(65 * MEBIBYTE)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert org.register_plan().owner == "org-1"


def test_five_mebibytes_of_keys_are_searched(org: Organization):
    manager = org.register_data_manager()
    sample = org.register_data_sample(manager)
    keys = [*(new_key() for _ in range(140_000)), sample.key]
    request = pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys))
    assert request.ByteSize() > 5 * MEBIBYTE
    assert org.all(request) == [sample]


def test_a_reason_of_a_mebibyte_is_kept(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    log = "trace " * (MEBIBYTE // 6)
    org.act(task, pb.TASK_ACTION_FAILED, log)
    (event,) = (event for event in org.events(asset_key=task.key) if event.compute_task.status == pb.STATUS_FAILED)
    assert log in event.metadata["reason"]


def test_an_error_about_many_things_still_arrives(org: Organization):
    strangers = [f"stranger {number}" for number in range(5_000)]
    org.refused(new_function(new_permissions=shared_with(*strangers)), "OE0003")
