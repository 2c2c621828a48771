"""How a test's calls get to the use cases: over gRPC, plain or with certificates, or straight in this process."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from orchestrator.rpc import methods
from orchestrator.rpc.handlers import Listed, Parts, Unary

TIMEOUT_SECONDS = 60
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

_SERVICES = [
    (name, service)
    for name, module in sorted(vars(pb).items())
    if name.endswith("_pb2") and not name.startswith(("google", "orchestrator"))
    for service in module.DESCRIPTOR.services_by_name.values()
]
_OURS = {
    "ExecutionService",
    "ExecutionStepService",
    "InspectionService",
    "ModuleService",
    "SubmissionService",
    "TopicService",
    "WorkerService",
}
METHODS: list[MethodDescriptor] = [
    method for _, service in _SERVICES if service.name not in _OURS for method in service.methods
]
"""The 40 methods of the contract."""
_ALL: Mapping[str, MethodDescriptor] = {
    method.input_type.full_name: method for _, service in _SERVICES for method in service.methods
}
"""Those, and our own, by the type of their request."""


def connect(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """Return a connection without a limit on the size of messages; plain without credentials."""
    if credentials is None:
        return grpc.insecure_channel(address, _UNLIMITED)
    return grpc.secure_channel(address, credentials, _UNLIMITED)


class Transport(Protocol):
    """What carries a request to the one method that takes its type."""

    def method(self, request: Any) -> Callable[..., Any]:
        """Return what takes the request, with its `metadata` and its `timeout` in seconds."""


class Wire:
    """A gRPC connection.

    Args:
        transport: see `connect`.
    """

    def __init__(self, transport: grpc.Channel) -> None:
        self.transport = transport
        stubs = {service.name: getattr(pb, f"{service.name}Stub")(transport) for _, service in _SERVICES}
        self._methods = {
            request: getattr(stubs[method.containing_service.name], method.name) for request, method in _ALL.items()
        }

    def method(self, request: Any) -> Callable[..., Any]:
        return self._methods[request.DESCRIPTOR.full_name]


class Direct:
    """The use cases themselves: no server, no wire; a refusal is an OrchestratorError.

    Args:
        database: with our tables.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def method(self, request: Any) -> Callable[..., Any]:
        found = _ALL[request.DESCRIPTOR.full_name]
        behind = methods.METHODS[found.containing_service.name][found.name]
        assert isinstance(behind, Unary | Parts | Listed), f"{found.name} streams"

        def call(request: Any, metadata: tuple[tuple[str, str], ...], timeout: float) -> Any:
            told = dict(metadata)
            asked = [request] if isinstance(behind, Parts | Listed) else request
            answer = self.database.run(
                told["mspid"], told["channel"], lambda transaction: behind.use_case(transaction, asked)
            )
            return GetMessageClass(found.output_type).FromString(answer.SerializeToString())

        return call
