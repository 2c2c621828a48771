"""The echo: our own server stack with nothing behind it, what gRPC and Python cost alone.

Run as `python -m benchmarks.echo` with the settings of `orchestrator serve`, of which it never uses the database.
Every method parses its request and answers it; the stream sends as many messages as its request says, `count:size`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.cli.configuration import configure
from orchestrator.rpc.admission import Admission
from orchestrator.rpc.certificates import CertificateFiles
from orchestrator.rpc.handlers import Handlers
from orchestrator.rpc.identity import Gate
from orchestrator.rpc.methods import UseCase
from orchestrator.rpc.server import make_server
from orchestrator.rpc.turns import Lane
from orchestrator.settings import ServerSettings, read_channels


class _Nothing:
    """Runs a use case without a transaction."""

    def run(self, organization: str, channel: str, use_case: Callable[[Any], Any]) -> Any:
        """Run it."""
        return use_case(SimpleNamespace(organization=organization, channel=channel))


class _Echo(Handlers):
    def unary(
        self,
        method: str,
        request_type: type[Message],
        use_case: UseCase | None,  # noqa: ARG002 - the echo stands for all
        lane: Lane = Lane.CALL,
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return a handler that answers what it is asked."""
        return super().unary(method, request_type, lambda _, request: request, lane)

    def subscription(self) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return a handler that sends the same bytes again and again."""

        async def handle(body: bytes, context: Any) -> AsyncGenerator[bytes, None]:
            self._gate.identify(context)
            count, size = map(int, pb.SubscribeToEventsParam.FromString(body).start_event_id.split(":"))
            message = bytes(size)
            for _ in range(count):
                yield message

        return grpc.unary_stream_rpc_method_handler(handle)


async def _serve(settings: ServerSettings) -> None:
    certificates = CertificateFiles(settings) if settings.tls_enabled else None
    trust = certificates.trust if certificates and settings.verify_client_msp_id else None
    channels = read_channels(settings.channel_config)
    gate = Gate(lambda: channels, (lambda: trust.value) if trust else None)
    with ThreadPoolExecutor(settings.database_pool_size, "call") as threads:
        no_events: Any = None
        server, _ = make_server(
            settings, _Echo(gate, _Nothing(), no_events, Admission(settings, threads)), certificates
        )
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(configure(ServerSettings)))
