"""The echo: our own server stack with nothing behind it, what gRPC and Python cost alone.

Run as `python -m benchmarks.echo` with the settings of `orchestrator serve`, of which it never uses the database.
Every method parses its request and answers it; the stream sends as many messages as its request says, `count:size`.
"""

from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message

from orchestrator import log
from orchestrator import protos as pb
from orchestrator.calls.admission import Admission
from orchestrator.calls.call import Calls, Flow
from orchestrator.calls.gate import Gate
from orchestrator.calls.threads import Threads
from orchestrator.cli.configuration import configure
from orchestrator.gateway.loop import runner
from orchestrator.listening import Limits
from orchestrator.rpc.certificates import CertificateFiles
from orchestrator.rpc.handlers import Handlers, Listed, Method, Stream, Unary
from orchestrator.rpc.methods import METHODS
from orchestrator.rpc.server import make_server
from orchestrator.settings import ServerSettings, read_channels


class _Nothing:
    """Runs a use case without a transaction."""

    def run(self, organization: str, channel: str, use_case: Callable[[Any], Any]) -> Any:
        """Run it."""
        return use_case(SimpleNamespace(organization=organization, channel=channel, waits=[]))


def _answer(_: object, request: Message) -> Message:
    return request


async def _repeat(_: Flow, asked: pb.SubscribeToEventsParam) -> AsyncGenerator[bytes, None]:
    count, size = map(int, asked.start_event_id.split(":"))
    message = bytes(size)
    for _number in range(count):
        yield message


def _echo(method: Method) -> Method:
    if isinstance(method, Unary | Listed):
        return Unary(method.request, _answer)
    return Stream(pb.SubscribeToEventsParam, _repeat)


async def _serve(settings: ServerSettings) -> None:
    certificates = CertificateFiles(settings) if settings.tls_enabled else None
    trust = certificates.trust if certificates and settings.verify_client_msp_id else None
    channels = read_channels(settings.channel_config)
    gate = Gate(lambda: channels, (lambda: trust.value) if trust else None)
    echoes = {service: {name: _echo(each) for name, each in methods.items()} for service, methods in METHODS.items()}
    with Threads(settings.database_pool_size, "call") as threads:
        no_events: Any = None
        calls = Calls(_Nothing(), no_events, Admission(settings, threads))
        server, _ = make_server(settings, Handlers(gate, calls), certificates, echoes)
        await server.start()
        await server.wait_for_termination()


def _main() -> None:
    settings = configure(ServerSettings)
    log.configure_process(settings.log_level)
    limits = Limits(settings.http_connections, settings.http_connections_per_address, settings.http_request_time)
    with runner(limits) as running:
        running.run(_serve(settings))


if __name__ == "__main__":
    _main()
