"""Every call: who calls and where, errors and their codes, keys, one transaction and one timestamp."""

import re

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator import protos as pb
from tests.kit.messages import (
    MODELS,
    SCORE,
    key_of,
    models,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_performance,
    new_plan,
    new_task,
    samples,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization, refuses
from tests.kit.transports import METHODS, TIMEOUT_SECONDS, Wire

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def send_empty(wire: Wire, method: MethodDescriptor, *metadata: tuple[str, str]) -> None:
    """Call a method with an empty request; of a stream, read the first message."""
    request = message_factory.GetMessageClass(method.input_type)()
    answer = wire.method(request)(request, metadata=metadata, timeout=TIMEOUT_SECONDS)
    if method.server_streaming:
        next(answer)


def test_the_contract_has_40_methods():
    assert len(METHODS) == 40


@every_method
def test_exactly_one_mspid(wire: Wire, channel: str, method: MethodDescriptor):
    with refuses("OE0003"):
        send_empty(wire, method, ("channel", channel))
    for second in ("org-1", "org-2"):
        with refuses("OE0003"):
            send_empty(wire, method, ("mspid", "org-1"), ("mspid", second), ("channel", channel))


@every_method
def test_exactly_one_channel_that_is_open_to_the_caller(wire: Wire, channel: str, method: MethodDescriptor):
    with refuses("OE0102"):
        send_empty(wire, method, ("mspid", "org-1"))
    with refuses("OE0102"):
        send_empty(wire, method, ("mspid", "org-1"), ("channel", "unknown"))
    with refuses("OE0102"):
        send_empty(wire, method, ("mspid", "org-2"), ("channel", "closed"))
    with refuses("OE0102"):
        send_empty(wire, method, ("mspid", "org-4"), ("channel", channel))
    with refuses("OE0102", "OE0003"):
        send_empty(wire, method, ("mspid", "org-1"), ("channel", channel), ("channel", channel))


def test_a_missing_mspid_is_found_before_a_missing_channel_or_a_bad_request(wire: Wire):
    with refuses("OE0003", "OE0102"):
        wire.method(pb.NewComputePlan())(pb.NewComputePlan(), timeout=TIMEOUT_SECONDS)


def test_empty_metadata_values_name_nobody(wire: Wire, channel: str):
    with refuses("OE0003", "OE0102"):
        Organization(wire, "", channel).send(new_plan())
    with refuses("OE0102"):
        Organization(wire, "org-1", "").send(new_plan())


def test_a_channel_takes_the_organizations_that_it_is_open_to(wire: Wire):
    assert Organization(wire, "org-1", "closed").register_plan().owner == "org-1"


def test_health_and_reflection_need_no_metadata(transport: grpc.Channel):
    health = health_pb2_grpc.HealthStub(transport).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    reflection = reflection_pb2_grpc.ServerReflectionStub(transport)
    (answer,) = reflection.ServerReflectionInfo(iter([question]), timeout=TIMEOUT_SECONDS)
    served = {service.name for service in answer.list_services_response.service}
    assert served >= {method.containing_service.full_name for method in METHODS}


def test_reflection_describes_the_messages(transport: grpc.Channel):
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol="orchestrator.ComputeTask")
    reflection = reflection_pb2_grpc.ServerReflectionStub(transport)
    (answer,) = reflection.ServerReflectionInfo(iter([question]), timeout=TIMEOUT_SECONDS)
    assert answer.file_descriptor_response.file_descriptor_proto


def test_a_method_that_does_not_exist_is_unimplemented(org: Organization, transport: grpc.Channel):
    call = transport.unary_unary("/orchestrator.FunctionService/ForgetFunction")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", metadata=org.metadata, timeout=TIMEOUT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_version_is_told(org: Organization):
    assert re.match(r"\d+\.\d+", org.send(pb.QueryVersionParam()).orchestrator)


@pytest.mark.parametrize(
    "request_type",
    [
        pb.GetComputePlanParam,
        pb.IsPlanRunningParam,
        pb.GetTaskParam,
        pb.GetTaskInputAssetsParam,
        pb.GetModelParam,
        pb.GetComputeTaskModelsParam,
        pb.GetDataManagerParam,
        pb.GetDatasetParam,
        pb.GetDataSampleParam,
        pb.GetFunctionParam,
        pb.GetFailureReportParam,
    ],
)
def test_what_does_not_exist_is_not_found(org: Organization, request_type: type):
    field = request_type.DESCRIPTOR.fields[0].name
    with refuses("OE0002"):
        org.send(request_type(**{field: new_key()}))
    with refuses("OE0002", "OE0003", "OE0101"):
        org.send(request_type(**{field: "no key"}))


def test_a_call_with_one_bad_item_does_nothing(org: Organization, plan: pb.ComputePlan):
    manager = org.register_data_manager()
    good = new_data_sample(manager)
    org.refused(samples(good, new_data_sample(manager, checksum="?")), "OE0101")
    with refuses("OE0002"):
        org.send(pb.GetDataSampleParam(key=good.key))
    function = org.register_function(outputs={"model": MODELS})
    task = new_task(function, plan)
    org.refused(tasks(task, new_task(function, plan, [new_key()])), "OE0101")
    with refuses("OE0002"):
        org.send(pb.GetTaskParam(key=task.key))
    org.send(tasks(task))
    org.start(task)
    model = new_model(task)
    org.refused(models(model, new_model(task, compute_task_output_identifier="none")), "OE0106")
    with refuses("OE0002"):
        org.send(pb.GetModelParam(key=model.key))


def test_a_refused_failure_report_changes_nothing(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    org.refused(task_failure(task, logs_address=None), "OE0101")
    assert org.status(task) == "STATUS_EXECUTING"
    assert not org.plan(task.compute_plan_key).HasField("failure_date")


def test_all_that_one_call_makes_bears_one_timestamp(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(outputs={"model": MODELS})
    first = new_task(function, plan)
    second = new_task(function, plan, inputs=[])
    registered = org.send(tasks(first, second)).tasks
    stamps = {task.creation_date.ToNanoseconds() for task in registered}
    stamps |= stamps_of(org, first, second)
    assert len(stamps) == 1

    org.start(first)
    made = org.send(models(new_model(first), new_model(first))).models
    stamps = {model.creation_date.ToNanoseconds() for model in made} | stamps_of(org, *made)
    output_events = org.events(asset_kind=pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET)
    assert len(output_events) == 2
    assert stamps == {event.timestamp.ToNanoseconds() for event in output_events}
    assert len(stamps) == 1

    report = org.send(task_failure(first))
    (report_event,) = org.events(asset_kind=pb.ASSET_FAILURE_REPORT)
    last_events = org.events(start=report_event.timestamp)
    assert [event.timestamp for event in last_events] == [report.creation_date] * 3
    assert {event.asset_kind for event in last_events} == {
        pb.ASSET_FAILURE_REPORT,
        pb.ASSET_COMPUTE_TASK,
        pb.ASSET_COMPUTE_PLAN,
    }
    assert org.plan(plan).failure_date == report.creation_date


def test_timestamps_are_truncated_to_microseconds(org: Organization):
    manager = org.register_data_manager()
    task = org.task_in("STATUS_EXECUTING")
    dated = [
        manager,
        org.register_data_sample(manager),
        org.send(pb.GetComputePlanParam(key=task.compute_plan_key)),
        org.send(pb.GetFunctionParam(key=task.function_key)),
        task,
        org.register_model(task),
        *org.send(pb.GetAllOrganizationsParam()).organizations,
    ]
    assert [asset.creation_date.nanos % 1000 for asset in dated] == [0] * len(dated)
    assert not any(event.timestamp.nanos % 1000 for event in org.events())


def test_an_asset_reads_as_it_was_answered(org: Organization, plan: pb.ComputePlan):
    function = org.send(new_function(metadata={"k": "v"}, outputs={"score": SCORE}))
    manager = org.register_data_manager(metadata={"k": "v"})
    sample = org.register_data_sample(manager)
    scored = org.register_function(outputs={"score": SCORE})
    task = org.register_task(scored, plan, metadata={"k": "v"})
    assert org.send(pb.GetFunctionParam(key=function.key)) == function
    assert org.send(pb.GetDataManagerParam(key=manager.key)) == manager
    assert org.send(pb.GetDataSampleParam(key=sample.key)) == sample
    assert org.plan(plan) == plan
    assert org.task(task) == task
    org.start(task)
    performance = org.send(new_performance(task))
    assert org.all(pb.QueryPerformancesParam()) == [performance]
    report = org.send(task_failure(task))
    assert org.send(pb.GetFailureReportParam(asset_key=task.key)) == report


def stamps_of(org: Organization, *assets: object) -> set[int]:
    keys = {key_of(asset) for asset in assets}
    events = [event for event in org.events() if event.asset_key in keys]
    assert len(events) == len(keys)
    return {event.timestamp.ToNanoseconds() for event in events}
