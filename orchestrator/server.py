"""The server process: gRPC, HTTP beside it, and the pumps that run in every process."""

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from prometheus_client import REGISTRY
from starlette.routing import Route

from orchestrator.access import tokens
from orchestrator.calls import metrics
from orchestrator.calls.admission import Admission
from orchestrator.calls.call import Calls
from orchestrator.calls.gate import Gate
from orchestrator.calls.threads import Threads
from orchestrator.core.errors import UnavailableError
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.cursors import Cursors
from orchestrator.dispatch.feed import Feed
from orchestrator.dispatch.listener import PLACED, WRITTEN, listen
from orchestrator.dispatch.presence import Presence
from orchestrator.dispatch.pump import Pump
from orchestrator.dispatch.relay import Relay
from orchestrator.dispatch.sequencer import Sequencer
from orchestrator.engine import vitals
from orchestrator.engine.transaction import EVENTS, Database
from orchestrator.files.watched import Watched
from orchestrator.gateway import monitor
from orchestrator.gateway.api import routes_of
from orchestrator.gateway.executions import start as executions
from orchestrator.gateway.identity import Identity, Ways
from orchestrator.gateway.loop import runner
from orchestrator.gateway.metrics import RelayLag, exposition
from orchestrator.gateway.problems import start as problems
from orchestrator.gateway.problems.edge import Application
from orchestrator.gateway.problems.start import Place
from orchestrator.gateway.problems.watch import Watch
from orchestrator.gateway.server import application, serve_http
from orchestrator.gateway.tracing import traced
from orchestrator.listening import Limits, Listener, hang_up, make_room
from orchestrator.rpc.certificates import CertificateFiles
from orchestrator.rpc.expiry import Expiry
from orchestrator.rpc.handlers import Handlers
from orchestrator.rpc.readiness import Readiness
from orchestrator.rpc.server import AddressError, make_server
from orchestrator.schema import Schema
from orchestrator.settings import ServerSettings, is_loopback, read_broker_urls, read_channels
from orchestrator.starting import Sibling, StartError, check_database
from orchestrator.store import connecting
from orchestrator.store.readiness import Probe
from orchestrator.telemetry import spans
from orchestrator.telemetry.switch import SwitchError

log = structlog.get_logger()

STOP_SECONDS = 10.0
"""How long open calls may take to finish once the server was told to stop."""

FOLLOWED_SECONDS, UNFOLLOWED_SECONDS = 0.01, 0.2
"""How long events gather while they are written without a break, where somebody follows them and where nobody does:
places are given to many at once."""

PATIENCE_SECONDS = 0.25
"""How long a call that is held up by what others have locked keeps its place, before others come first."""

CURSOR_SECONDS = 5.0
"""How often it is noted how far the event streams are."""

LOOK_SECONDS = 1.0
"""How often the files of channels, brokers and certificates are looked at."""

READINESS_SECONDS = 1.0
"""How often it is asked whether the database does what calls need."""

_LAST_WORDS_SECONDS = 0.5
"""How long what was answered may take to be sent."""


def serve(settings: ServerSettings, sibling: Sibling | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: all of them.
        sibling: what a process knows that is one of several.

    Raises:
        StartError: the database is not ready, or an address is taken.
    """
    if settings.database_pooling == "transaction":
        connecting.share_sessions()
    check_database(settings)
    # To look through all that was imported, for garbage, would hold up every call for a tenth of a second.
    gc.freeze()
    try:
        spans.begin("server")
        with runner(_limits(settings)) as running:
            running.run(_serve(settings, sibling))
    except (AddressError, SwitchError) as error:
        raise StartError(str(error)) from error
    finally:
        spans.end()


async def _serve(settings: ServerSettings, sibling: Sibling | None) -> None:
    url = settings.url
    loop = asyncio.get_running_loop()

    def wake(names: frozenset[str]) -> None:
        # Pokes first: workers wait for them.
        if relay is not None:
            for queue in names - {EVENTS}:
                loop.call_soon_threadsafe(relay.wake, queue)
        if EVENTS in names:
            loop.call_soon_threadsafe(sequencer.wake)

    database = Database(
        url,
        settings.database_pool_size,
        settings.tx_retry_budget,
        settings.rules,
        wake,
        settings.retry_policies,
        PATIENCE_SECONDS,
    )
    feed = Feed(database, settings.replay_events_batch_size)
    await asyncio.to_thread(feed.begin)
    watch: Watch | None = None
    feeding = Pump("feed", feed.step, 2.0)
    # Those that follow the order of readers.
    following = [feeding]

    def placed() -> None:
        for pump in following:
            pump.wake()

    def gathering(written_meanwhile: bool) -> float:
        if not (places.is_followed or feed.is_followed or (watch is not None and watch.is_followed)):
            return UNFOLLOWED_SECONDS
        # Who follows may write next what comes of it: such a loop is no load.
        return FOLLOWED_SECONDS if written_meanwhile else 0.0

    places = Sequencer(database, placed)
    sequencer = Pump("sequencer", places.step, 1.0, gathering)
    presence = Presence(database)
    pumps = [
        sequencer,
        feeding,
        Pump("cursors", Cursors(database, feed).step, CURSOR_SECONDS),
        Pump("presence", presence.step, presence.period),
    ]
    default_broker = settings.broker_url.get_secret_value() if settings.broker_url else None
    files = _Files(settings)
    brokers = Brokers(default_broker, lambda: files.own_brokers.value if files.own_brokers else {}, files.members)
    relay = Relay(database, brokers) if settings.dispatches else None
    written = [sequencer]
    if relay:
        written.append(Pump("relay", relay.step, 5.0))
        pumps.append(written[-1])
    # A thread that waits for an answer of the database would hold up the end for as long as that takes.
    impatience = threading.Timer(STOP_SECONDS, connecting.break_off)
    impatience.daemon = True
    with Threads(settings.database_pool_size, "call") as threads:
        trust = files.certificates.trust if files.certificates and settings.verify_client_msp_id else None
        gate = Gate(lambda: files.channels.value, (lambda: trust.value) if trust else None)
        calls = Calls(database, feed, Admission(settings, threads))
        counts = sibling.counts.registry() if sibling and sibling.counts else REGISTRY
        if files.certificates:
            counts.register(Expiry(files.certificates))
        if relay:
            counts.register(RelayLag(relay.lags))
        if settings.metrics_exemplars:
            metrics.show_exemplars()
        server, healthy = make_server(settings, Handlers(gate, calls), files.certificates)
        schema = Schema()
        counts.register(schema)
        probe = Probe(url, judge=schema.judge)
        pumps.append(Pump("readiness", Readiness(probe.check, healthy).step, READINESS_SECONDS))
        exposed = partial(exposition, counts, partial(vitals.read, database)) if settings.metrics_enabled else None
        monitoring = monitor.routes(probe.check, exposed, lambda: schema.told, exemplars=settings.metrics_exemplars)
        http = _http(settings, monitoring, _api(settings, calls, gate, database, files), files.certificates)
        if settings.problems_address is not None:
            served, watch = _problems(settings, settings.problems_address, calls, gate, database, files)
            http.append(_serve_problems(settings, settings.problems_address, served, files.certificates))
            await asyncio.to_thread(watch.open)
            following.append(Pump("problems", watch.step, 2.0))
            watch.wake = following[-1].wake
            pumps.append(following[-1])
        await server.start()
        async with asyncio.TaskGroup() as background:
            tasks = [background.create_task(pump.run()) for pump in pumps]
            tasks.append(background.create_task(files.follow(feed)))
            tasks.append(
                background.create_task(listen(settings.direct_url, {WRITTEN: written, PLACED: following}, places.name))
            )
            tasks.extend(background.create_task(served()) for served in http)
            log.info("server.started", grpc=settings.grpc_address, http=settings.http_address)
            if sibling:
                sibling.serves()
            await _told_to_stop(sibling.orphaned if sibling else None)
            log.info("server.stopping")
            impatience.start()
            await healthy.enter_graceful_shutdown()
            await feed.close()
            if watch is not None:
                await watch.close()
            await _break_off_if_silent(probe)
            # gRPC itself answers a call that comes while it stops with CANCELLED, which clients take for lasting: so it
            # stops last, and when none can come any more.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await calls.finish()
            await asyncio.sleep(_LAST_WORDS_SECONDS)
            hang_up(settings.grpc_address)
            await server.stop(None)
            for task in tasks:
                task.cancel()
            await probe.close()
    if relay:
        await relay.stop()
        relay.close()
    database.close()
    log.info("server.stopped")


async def _break_off_if_silent(probe: Probe) -> None:
    """Do not wait for a database that does not answer."""
    try:
        await probe.check()
    except UnavailableError as error:
        log.warning("server.breaks_off", reason=str(error))
        connecting.break_off()


class _Files:
    """What the server reads from files, and reads again when they change.

    Args:
        settings: which files.

    Raises:
        StartError: one cannot be used.
    """

    def __init__(self, settings: ServerSettings) -> None:
        # Not asyncio's threads: those that wait for the database must not keep a revocation from being read.
        self._thread = ThreadPoolExecutor(1, "files")
        self._members: tuple[object, frozenset[str]] = None, frozenset()
        channels, urls = settings.channel_config, settings.broker_urls
        try:
            self.channels = Watched("channels", lambda: [channels], lambda: read_channels(channels))
            self.own_brokers = Watched("broker_urls", lambda: [urls], lambda: read_broker_urls(urls)) if urls else None
        except (OSError, ValueError) as error:
            raise StartError(f"a file of the settings cannot be used: {error}") from error
        try:
            self.certificates = CertificateFiles(settings) if settings.tls_enabled else None
        except (OSError, ValueError) as error:
            raise StartError(f"the files of ORCHESTRATOR_TLS_… cannot be used: {error}") from error

    def members(self) -> frozenset[str]:
        """Return the organizations of all channels."""
        channels, (seen, members) = self.channels.value, self._members
        if seen is not channels:
            # Asked for each poke.
            members = frozenset().union(*channels.values())
            self._members = channels, members
        return members

    def look(self) -> None:
        """Look at all of them."""
        self.channels.look()
        if self.own_brokers:
            self.own_brokers.look()
        if self.certificates:
            self.certificates.look()

    async def follow(self, feed: Feed) -> None:
        """Look again and again, and have the streams checked again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._thread, self.look)
            await feed.recheck()


async def _told_to_stop(orphaned: int | None) -> None:
    """Wait for a signal, or for the end of the supervisor."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if orphaned is not None:
        loop.add_reader(orphaned, stop.set)
    await stop.wait()
    if orphaned is not None:
        loop.remove_reader(orphaned)


def _limits(settings: ServerSettings) -> Limits:
    return Limits(settings.http_connections, settings.http_connections_per_address, settings.http_request_time)


def _listen(settings: ServerSettings, variable: str, address: str, limits: Limits | None = None) -> Listener:
    try:
        return Listener(address, limits or _limits(settings), shared=settings.processes > 1)
    except OSError as error:
        raise StartError(f"{variable} {address} cannot be listened on: {error.strerror}") from error


def _http(
    settings: ServerSettings, monitoring: Sequence[Route], api: Sequence[Route], certificates: CertificateFiles | None
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Listen on the addresses of HTTP; return what serves them.

    Raises:
        StartError: one cannot be listened on.
    """
    serve = partial(serve_http, patience=settings.http_request_time)
    http = _listen(settings, "ORCHESTRATOR_HTTP_ADDRESS", settings.http_address)
    if not api or settings.api_address is None:
        return [partial(serve, application([*monitoring, *api]), http)]
    own = _listen(settings, "ORCHESTRATOR_API_ADDRESS", settings.api_address)
    context = certificates.http_context(asks="certificate" in settings.api_identity) if certificates else None
    return [partial(serve, application(monitoring), http), partial(serve, application(api), own, context=context)]


def _serve_problems(
    settings: ServerSettings, address: str, served: Application, certificates: CertificateFiles | None
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Listen on the address of problems; return what serves them.

    Raises:
        StartError: it cannot be listened on.
    """
    # A front end may forward for all its people, from one address.
    limits = Limits(settings.problems_connections, settings.problems_connections, settings.http_request_time)
    make_room(settings.problems_connections + settings.grpc_connections + settings.http_connections)
    own = _listen(settings, "ORCHESTRATOR_PROBLEMS_ADDRESS", address, limits)
    context = None
    if certificates and not is_loopback(address):
        context = certificates.http_context(asks="certificate" in settings.problems_identity)
    return partial(serve_http, served, own, patience=settings.http_request_time, context=context)


def _problems(
    settings: ServerSettings, address: str, calls: Calls, gate: Gate, database: Database, files: _Files
) -> tuple[Application, Watch]:
    """Return what serves problems, and what follows their events."""
    organization, channel = settings.problems_owner or "", settings.problems_place or ""
    place = Place(address, is_loopback(address), organization, channel, settings.problems_deployment)
    if not place.is_loopback and not settings.tls_enabled:
        log.warning("problems.open", address=address, reason="tokens and answers travel without TLS")
    everybody = (organization, channel) if "open" in settings.problems_identity else None
    identity = _identity(settings.problems_identity, everybody, calls, gate, database, files)
    try:
        return problems.serving(calls, identity, database, place)
    except ValueError as error:
        raise StartError(str(error)) from error


def _api(settings: ServerSettings, calls: Calls, gate: Gate, database: Database, files: _Files) -> Sequence[Route]:
    """Return the routes of the HTTP API; none where nothing says how callers are known."""
    if not settings.api_identity:
        return ()
    for warning in settings.api_warnings:
        log.warning("api.open", address=settings.api_address, reason=warning)
    organization, channel = settings.api_organization, settings.api_channel
    everybody = (organization, channel) if organization and channel and "open" in settings.api_identity else None
    identity = _identity(settings.api_identity, everybody, calls, gate, database, files)
    try:
        return [*traced(routes_of(calls, identity)), *executions.routes(calls, identity)]
    except (OSError, ValueError) as error:
        raise StartError(str(error)) from error


def _identity(
    taken: Collection[str],
    everybody: tuple[str, str] | None,
    calls: Calls,
    gate: Gate,
    database: Database,
    files: _Files,
) -> Identity:
    """Return what lets callers in who say who they are in one of some ways.

    Args:
        taken: `token`, `certificate`.
        everybody: the organization and the channel of whoever shows nothing; None where that is none.
        calls: look tokens up.
        gate: says which channels are open to whom.
        database: where tokens are.
        files: with the certificates.
    """

    def look_up(token: str) -> tokens.Token:
        with database.begin() as connection:
            return tokens.verify(connection, token, database.clock.now())

    trust = files.certificates.trust if files.certificates else None
    ways = Ways(
        token=(lambda shown: calls.look_up(partial(look_up, shown))) if "token" in taken else None,
        trust=(lambda: trust.value) if trust and "certificate" in taken else None,
        everybody=everybody,
    )
    return Identity(gate, ways)
