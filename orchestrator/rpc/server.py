"""The gRPC server: every service of the contract, health and reflection."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from orchestrator import protos as pb
from orchestrator.calls.call import Flow
from orchestrator.calls.turns import Lane
from orchestrator.core.errors import UnimplementedError
from orchestrator.core.fields import LARGEST_MESSAGE
from orchestrator.engine import kinds
from orchestrator.engine.transaction import Transaction
from orchestrator.rpc.certificates import CertificateFiles
from orchestrator.rpc.handlers import Handlers, Method, Parts, Stream, Unary
from orchestrator.rpc.methods import METHODS
from orchestrator.rpc.tracing import traced
from orchestrator.settings import ServerSettings

_KEEPALIVE_MS = 60_000
_KEEPALIVE_TIMEOUT_MS = 20_000
_PENDING = 1_000_000
_IDLE_MS = 30 * 60_000
# All connections of a server that died go to the others, and would stay there. A call outlives its connection's age.
_AGE_MS = 10 * 60_000
# What workers call by themselves, and what a training is lost without.
_WORKERS = "WorkerService"


class AddressError(Exception):
    """The address cannot be listened on; the message says which setting names it."""


def make_server(
    settings: ServerSettings,
    handlers: Handlers,
    certificates: CertificateFiles | None,
    methods: Mapping[str, Mapping[str, Method]] = METHODS,
) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """Return a server that is bound to its address and not yet started, and its health.

    Args:
        settings: address, certificates, keep-alive.
        handlers: of the methods.
        certificates: for TLS; None speaks plain gRPC.
        methods: what stands behind each, by service and method.

    Raises:
        AddressError: the address cannot be listened on.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.so_reuseport", int(settings.processes > 1)),
            ("grpc.max_allowed_incoming_connections", settings.grpc_connections),
            ("grpc.server_handshake_timeout_ms", int(settings.grpc_handshake_time * 1000)),
            # Who is gone without a word, or holds a connection for nothing, makes room for others.
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            ("grpc.max_connection_age_ms", _AGE_MS),
            # Beyond this gRPC itself drops calls, anybody's, and with a bare CANCELLED.
            ("grpc.server.max_pending_requests", _PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _PENDING),
            # What has not been asked for is to wait with the caller; by default gRPC takes megabytes of each request.
            ("grpc.http2.bdp_probe", 0),
            (
                "grpc.http2.min_ping_interval_without_data_ms",
                int(settings.grpc_keepalive_policy_min_time * 1000),
            ),
            ("grpc.keepalive_permit_without_calls", int(settings.grpc_keepalive_policy_permit_without_stream)),
        ]
    )
    of_kinds = {service.descriptor.full_name: service for kind in kinds.every() for service in kind.services}
    # Our own kinds' lie beside the contract's.
    described = [*contract(), *(service.descriptor for service in of_kinds.values())]
    services = {service.full_name: service for service in described}
    found = _Found()
    for service in services.values():
        own = of_kinds.get(service.full_name)
        lane = Lane.WORKER if service.name == _WORKERS or (own and own.of_workers) else Lane.CALL
        behind = _of_kind(own) if own else methods.get(service.name, {})
        made = {
            method.name: traced(
                f"{service.full_name}/{method.name}",
                behind.get(method.name, _missing(method)).handler(method.name, lane, handlers),
            )
            for method in service.methods
        }
        found.add_registered_method_handlers(service.full_name, made)
    # What is generated wants a server, and asks no more of it than to be added to.
    added: Any = found
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, added)
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), added)  # type: ignore[no-untyped-call]
    server.add_generic_rpc_handlers((found,))
    _bind(server, settings, certificates)
    return server, healthy


class _Found(grpc.GenericRpcHandler):
    """Finds the handler of a method among those of all services.

    Generated code adds to it as to a server. A server of asyncio waits anew for each method that is added to it by
    name, at every call of any of them.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def add_registered_method_handlers(
        self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Add the handlers of a service's methods, by name."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Leave them out: they are the same."""

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a call; None where there is no such method."""
        return self._handlers.get(call.method)


def contract() -> Iterable[ServiceDescriptor]:
    """Yield the services of the contract, and of our own those that no kind of work brings."""
    of_kinds = {service.descriptor.full_name for kind in kinds.every() for service in kind.services}
    for module in vars(pb).values():
        descriptor = getattr(module, "DESCRIPTOR", None)
        if descriptor is not None and hasattr(descriptor, "services_by_name"):
            found = descriptor.services_by_name.values()
            yield from (service for service in found if service.full_name not in of_kinds)


def _of_kind(service: kinds.Service) -> Mapping[str, Method]:
    """Return what stands behind the methods of a service that a kind of work brings."""
    made: dict[str, Method] = {}
    for method in service.descriptor.methods:
        request = GetMessageClass(method.input_type)
        if method.name in service.use_cases:
            made[method.name] = Unary(request, service.use_cases[method.name])
        elif method.name in service.gathered:
            made[method.name] = Parts(request, service.gathered[method.name])
        elif method.name in service.parted:
            made[method.name] = Stream(request, _parted(service.parted[method.name]))
    return made


def _parted(
    use_case: Callable[[Transaction, Message], Sequence[Message]],
) -> Callable[[Flow, Message], AsyncGenerator[bytes, None]]:
    """Return the source of a stream that is made in one transaction."""

    async def source(flow: Flow, request: Message) -> AsyncGenerator[bytes, None]:
        for part in await flow.run(lambda transaction: use_case(transaction, request)):
            flow.check()
            yield part.SerializeToString()

    return source


def _missing(method: MethodDescriptor) -> Method:
    """Return what stands behind a method that the contract has and the table has not."""
    error = UnimplementedError(f"{method.name} is not implemented by this server")

    def use_case(_: Transaction, __: Message) -> Message:
        raise error

    async def source(_: Flow, __: Message) -> AsyncGenerator[bytes, None]:
        raise error
        yield b""

    request = GetMessageClass(method.input_type)
    return Stream(request, source) if method.server_streaming else Unary(request, use_case)


def _bind(server: grpc.aio.Server, settings: ServerSettings, certificates: CertificateFiles | None) -> None:
    try:
        if certificates:
            port = server.add_secure_port(settings.grpc_address, certificates.credentials())
        else:
            port = server.add_insecure_port(settings.grpc_address)
    except RuntimeError as error:
        raise AddressError(f"ORCHESTRATOR_GRPC_ADDRESS {settings.grpc_address} cannot be listened on") from error
    if not port:
        raise AddressError(f"ORCHESTRATOR_GRPC_ADDRESS {settings.grpc_address} cannot be listened on: is it taken?")
