"""What a module calls, over the wire: outputs and inputs come in parts."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from orchestrator import protos as pb
from tests.kit.messages import new_key
from tests.kit.organization import Organization

MODEL, RESOURCES = 5, 3


@pytest.fixture
def module(transport: grpc.Channel, channel: str, bare: dict[str, Organization]) -> Callable[..., Any]:
    """Calls of ModuleService as an organization."""
    stub = pb.ModuleServiceStub(transport)

    def call(method: str, request: Any, organization: str = "org-1") -> Any:
        metadata = (("mspid", organization), ("channel", channel))
        return getattr(stub, method)(request, metadata=metadata, timeout=30)

    return call


def new(deployment: str, kind: int = MODEL, name: str = "a", process_id: str = "") -> pb.RegisterModuleParam:
    return pb.RegisterModuleParam(
        deployment=deployment, kind=kind, name=name, process_id=process_id or new_key(), slots=2
    )


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return error.value.code(), error.value.details()


def test_who_may_register(module: Callable[..., Any]):
    deployment = f"d-{new_key()[:8]}"
    said = module("RegisterModule", new(deployment))
    assert said.queue == f"module.{deployment}.ml_model"
    assert (said.node, said.kind_name) == (f"{deployment}/ML_MODEL/a", "ML_MODEL")
    for request, organization, expected in (
        (new(deployment), "org-1", (grpc.StatusCode.ALREADY_EXISTS, "SUSTAINML_NODE_NAME")),
        (new(deployment, kind=6), "org-1", (grpc.StatusCode.INVALID_ARGUMENT, "6 is no kind of module")),
        (new(deployment, name="b"), "org-2", (grpc.StatusCode.PERMISSION_DENIED, "another organization's")),
        (new("no name"), "org-1", (grpc.StatusCode.FAILED_PRECONDITION, "deployment 'no name'")),
    ):
        with pytest.raises(grpc.RpcError) as error:
            module("RegisterModule", request, organization)
        code, details = refused(error)
        assert code == expected[0]
        assert expected[1] in details
    with pytest.raises(grpc.RpcError) as error:
        module("ReportModule", pb.ReportModuleParam(deployment=deployment, kind=MODEL, name="nobody"))
    assert refused(error)[0] == grpc.StatusCode.NOT_FOUND


def test_a_report_in_parts_of_an_attempt_that_is_none(module: Callable[..., Any]):
    attempt = pb.Attempt(compute_task_key=new_key(), number=1, token="t")

    def parts() -> Iterator[pb.StagePart]:
        yield pb.StagePart(attempt=attempt, data=b"x" * 1000)
        for _ in range(3):
            yield pb.StagePart(data=b"x" * 3_000_000)

    for method in ("CompleteStage", "FailStage"):
        with pytest.raises(grpc.RpcError) as error:
            module(method, parts())
        assert refused(error)[0] == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as error:
            module(method, iter(()))
        assert refused(error)[0] == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as error:
        list(module("GetStageInputs", attempt))
    assert refused(error)[0] == grpc.StatusCode.NOT_FOUND
