"""The server process: gRPC, health and reflection, HTTP beside it, and the pumps that run in every process."""

import asyncio
import signal
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import migrations
from orchestrator import protos as pb
from orchestrator.core import identity
from orchestrator.dispatch.feed import Feed
from orchestrator.dispatch.listener import PLACED, WRITTEN, listen
from orchestrator.dispatch.pump import Pump
from orchestrator.dispatch.relay import Relay
from orchestrator.dispatch.sequencer import Sequencer
from orchestrator.gateway.server import serve_http
from orchestrator.rpc.handlers import Handlers
from orchestrator.rpc.identity import Gate
from orchestrator.rpc.methods import USE_CASES
from orchestrator.settings import ServerSettings
from orchestrator.store.database import Database

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
STOP_SECONDS = 10.0
"""How long open calls may take to finish once the server was told to stop."""


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: the database is not ready, or an address is taken.
    """
    _check_schema(settings.database_url.get_secret_value())
    asyncio.run(_serve(settings))


def _check_schema(url: str) -> None:
    try:
        current, newest = migrations.lag(url)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise StartError(f"the database of ORCHESTRATOR_DATABASE_URL cannot be reached: {reason}") from error
    if current != newest:
        raise StartError(f"the database is at revision {current}, {newest} is needed: run `orchestrator migrate`")


async def _serve(settings: ServerSettings) -> None:
    url = settings.database_url.get_secret_value()
    database = Database(url, settings.database_pool_size, settings.tx_retry_budget)
    feed = Feed(database, settings.replay_events_batch_size)
    await asyncio.to_thread(feed.begin)
    sequencer, feeding = Pump("sequencer", Sequencer(database).step, 1.0), Pump("feed", feed.step, 2.0)
    pumps = [sequencer, feeding]
    listened = {WRITTEN: [sequencer], PLACED: [feeding]}
    relay = Relay(database, settings.broker_url.get_secret_value()) if settings.broker_url else None
    if relay:
        pumps.append(Pump("relay", relay.step, 5.0))
        listened[WRITTEN].append(pumps[-1])
    with ThreadPoolExecutor(settings.database_pool_size, "call") as threads:
        authorities = identity.read_authorities(settings.authorities) if settings.verify_client_msp_id else None
        handlers = Handlers(Gate(settings.channels, authorities), database, feed, threads)
        server, healthy = _grpc_server(settings, handlers)
        http = _listen(settings.http_address)
        await server.start()
        async with asyncio.TaskGroup() as background:
            tasks = [background.create_task(pump.run()) for pump in pumps]
            tasks.append(background.create_task(listen(url, listened)))
            tasks.append(background.create_task(serve_http(http, database, settings.metrics_enabled)))
            log.info("server.started", grpc=settings.grpc_address, http=settings.http_address)
            await _told_to_stop()
            log.info("server.stopping")
            await healthy.enter_graceful_shutdown()
            await feed.close()
            await server.stop(STOP_SECONDS)
            for task in tasks:
                task.cancel()
    if relay:
        relay.close()
    database.close()
    log.info("server.stopped")


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _grpc_server(settings: ServerSettings, handlers: Handlers) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            (
                "grpc.http2.min_ping_interval_without_data_ms",
                int(settings.grpc_keepalive_policy_min_time * 1000),
            ),
            ("grpc.keepalive_permit_without_calls", int(settings.grpc_keepalive_policy_permit_without_stream)),
        ]
    )
    services = list(_services())
    for service in services:
        use_cases = USE_CASES.get(service.name, {})
        methods = {}
        for method in service.methods:
            if method.server_streaming:
                methods[method.name] = handlers.subscription()
            else:
                request_type = GetMessageClass(method.input_type)
                methods[method.name] = handlers.unary(method.name, request_type, use_cases.get(method.name))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = [service.full_name for service in services]
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    _bind(server, settings)
    return server, healthy


def _services() -> Iterable[ServiceDescriptor]:
    for module in vars(pb).values():
        descriptor = getattr(module, "DESCRIPTOR", None)
        if descriptor is not None and hasattr(descriptor, "services_by_name"):
            yield from descriptor.services_by_name.values()


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host, int(port)))
    except OSError as error:
        raise StartError(f"ORCHESTRATOR_HTTP_ADDRESS {address} cannot be listened on: {error.strerror}") from error


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> None:
    try:
        if settings.tls_enabled:
            port = server.add_secure_port(settings.grpc_address, _credentials(settings))
        else:
            port = server.add_insecure_port(settings.grpc_address)
    except RuntimeError as error:
        raise StartError(f"ORCHESTRATOR_GRPC_ADDRESS {settings.grpc_address} cannot be listened on") from error
    if not port:
        raise StartError(f"ORCHESTRATOR_GRPC_ADDRESS {settings.grpc_address} cannot be listened on: is it taken?")


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    if settings.tls_key_path is None or settings.tls_cert_path is None:
        raise StartError("ORCHESTRATOR_TLS_CERT_PATH and ORCHESTRATOR_TLS_KEY_PATH are needed for TLS")
    pair = (settings.tls_key_path.read_bytes(), settings.tls_cert_path.read_bytes())
    if not settings.mtls_enabled:
        return grpc.ssl_server_credentials([pair])
    trusted = b"\n".join(pem for pems in settings.authorities.values() for pem in pems)
    return grpc.ssl_server_credentials([pair], root_certificates=trusted, require_client_auth=True)
