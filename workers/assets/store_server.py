"""Serves an organization's assets to its peers, over HTTPS with mutual TLS.

Functions, openers, descriptions, models and logs, for reading; never data samples. The orchestrator says who may read
what. What is written is in `upload_server`.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

import grpc
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator import health
from orchestrator import log as logs
from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError, PermissionDeniedError, UnavailableError
from orchestrator.core.identity import Presented, Trust
from orchestrator.files.tls import renewed_context
from orchestrator.files.trust import watch_trust
from orchestrator.listening import IdentifyingProtocol, Limits, Listener, runner
from orchestrator.telemetry import names, spans, traceparent
from orchestrator.telemetry.spans import Kind
from orchestrator.telemetry.switch import SwitchError
from workers.assets import metrics, task_logs
from workers.assets.access import Access
from workers.assets.settings import StoreSettings
from workers.assets.store import AssetStore
from workers.assets.unnamed import Unnamed, is_named
from workers.assets.upload_server import Removal, UploadServer
from workers.assets.uploads import Uploads
from workers.channels import Channels, connect

log = structlog.get_logger()

UPLOADS = ".uploads"
"""The folder of a local store for what is on its way; no name leads to it."""

UNNAMED = "unnamed"
"""The folder in it for notes of what is in the store and named by no asset yet."""

_CHUNK = 256 * 1024
_SHUTDOWN_SECONDS = 10
_RECHECK_SECONDS = 10.0
_RANGE = re.compile(r"bytes=([0-9]{1,18})-")
_ANSWER_SECONDS = 3.0
_READY_SECONDS = 4.0


def make_app(
    store: AssetStore, access: Access, trust: Callable[[], Trust], organization: str, uploads: Uploads | None
) -> Starlette:
    """Return the HTTP application of an asset store.

    Args:
        store: the files.
        access: the rule of who may read them.
        trust: who may vouch for which organization, as of now.
        organization: whose store it is.
        uploads: what is on its way into it; None where it takes none.
    """

    # Not async: the questions to the orchestrator and to the disk wait, so Starlette gives each a thread.
    def read(request: Request) -> Response:
        """Serve one file to the organization of the client certificate."""
        name = request.path_params["name"]
        peers = _identify(request.state.presented, trust())
        _check(access, name, peers)
        try:
            is_log = name.startswith(f"{task_logs.FOLDERS[0]}/")
            if is_log:
                name = task_logs.latest(store, name)
            file, size = store.open(name)
        except FileNotFoundError as error:
            raise HTTPException(404, f"the asset store has no {name}") from error
        log.info("asset.read", name=name, organizations=sorted(peers), method=request.method)
        headers = {"Log-Attempt": name.rpartition("/")[2]} if is_log else {}
        # It may grow while it is read.
        begin = _begin(request, file, size, headers)
        headers |= {"Content-Length": str(size - begin), "Accept-Ranges": "bytes"}
        status = 200
        if begin:
            headers["Content-Range"], status = f"bytes {begin}-{size - 1}/{size}", 206
        if request.method == "HEAD":
            file.close()
            return Response(status_code=status, headers=headers, media_type="application/octet-stream")
        shown = request.state.presented
        chunks = _chunks(file, lambda: _identify(shown, trust()), size - begin)
        return StreamingResponse(chunks, status, headers=headers, media_type="application/octet-stream")

    return Starlette(
        middleware=[Middleware(_Told)],
        routes=[
            *UploadServer(uploads, organization, trust, access.address).routes,
            Route("/{name:path}", read, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _explain, Exception: _internal_error},
    )


def serve(settings: StoreSettings) -> int:
    """Run an asset store's server in this process until it is told to end (TERM or INT); return its exit code.

    Args:
        settings: the store's.
    """
    logs.configure_process(settings.log_level)
    try:
        trust = watch_trust(settings.tls_client_ca_cert_dir, settings.tls_deny_list)
        context = renewed_context("store_certificate", settings.store_cert, settings.store_key, trust, demands=True)
    except (OSError, ValueError) as error:
        log.error("store.not_started", error=f"the certificate files cannot be used: {error}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends gracefully, then sends itself the signal again; that one must find a handler.
        signal.signal(number, lambda *_: None)
    try:
        spans.begin("store", {names.ORGANIZATION: settings.organization})
    except SwitchError as error:
        log.error("store.not_started", error=str(error))
        return 1
    with ExitStack() as traced, connect(settings) as channels:
        traced.callback(spans.end)
        access = Access(channels, settings.organization, settings.store_url)
        store = AssetStore(settings.store_root)
        uploads = _uploads(store, channels, settings)
        app = make_app(store, access, trust.look, settings.organization, uploads)
        limits = Limits(settings.store_connections, settings.store_connections_per_address, settings.store_request_time)
        try:
            listener = Listener(settings.store_address, limits)
        except OSError as error:
            log.error("store.address", address=settings.store_address, reason=error.strerror)
            return 1
        protocol = type("_Protocol", (IdentifyingProtocol,), {"patience": limits.seconds})
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                ssl_context_factory=lambda _, __: context,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        log.info("store.serving", organization=settings.organization, address=settings.store_address)
        ready = partial(health.in_thread, partial(_check_ready, store, channels), _READY_SECONDS)
        with ExitStack() as held:
            held.enter_context(listener)
            try:
                more = [metrics.route(settings.store_cert)]
                held.enter_context(health.answering(settings.health_address, ready, more))
            except health.AddressError as error:
                log.error("store.not_started", error=str(error))
                return 1
            held.enter_context(Removal(uploads))
            held.enter_context(runner(limits)).run(server.serve(sockets=[listener]))
    return 0 if server.started else 1


def _check_ready(store: AssetStore, channels: Channels) -> None:
    """Check that files can be served: they are there, and the orchestrator says who may read them.

    Raises:
        UnavailableError: they cannot; the message says why.
    """
    if store.local is not None and not os.access(store.local, os.R_OK | os.X_OK):
        raise UnavailableError("the folder of the store cannot be read")
    try:
        channels.find(lambda client: client.info.QueryVersion(pb.QueryVersionParam(), timeout=_ANSWER_SECONDS))
    except grpc.RpcError as error:
        raise UnavailableError(f"the orchestrator does not say who may read what: {error.details()}") from error


def _uploads(store: AssetStore, channels: Channels, settings: StoreSettings) -> Uploads | None:
    folder = store.local / UPLOADS if store.local else settings.store_uploads
    if folder is None:
        return None
    limits = (settings.store_upload_limit, settings.store_disk_reserve, settings.store_upload_age)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unnamed = Unnamed(store, folder / UNNAMED, settings.store_unnamed_age, partial(is_named, channels))
        return Uploads(store, folder, *limits, unnamed)
    except OSError as error:
        # It may be meant so: reading goes on.
        log.warning("store.takes_no_uploads", folder=str(folder), reason=error.strerror)
        return None


def _identify(presented: Presented, trust: Trust) -> frozenset[str]:
    """Return the organizations that the client's certificates speak for."""
    try:
        return trust.organizations_of(presented, datetime.now(UTC))
    except PermissionDeniedError as error:
        raise HTTPException(401, str(error)) from error


def _check(access: Access, name: str, peers: frozenset[str]) -> None:
    try:
        access.check(name, peers)
    except NotFoundError as error:
        raise HTTPException(404, str(error).removeprefix(f"{error.code}: ")) from error
    except PermissionDeniedError as error:
        log.warning("asset.denied", name=name, organizations=sorted(peers))
        raise HTTPException(403, str(error)) from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            raise HTTPException(404, f"the orchestrator does not know {name}") from error
        log.warning("asset.unanswered", name=name, error=error.details())
        raise HTTPException(503, "the orchestrator could not be asked for the permission; try again later") from error


def _begin(request: Request, file: IO[bytes], size: int, headers: Mapping[str, str]) -> int:
    """Return from where a file is wanted, and go there; of ranges only those to its end are known."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    begin = int(match[1]) if match else 0
    if begin and begin >= size:
        file.close()
        raise HTTPException(416, "there is no more of it yet", {**headers, "Content-Range": f"bytes */{size}"})
    file.seek(begin)
    return begin


def _chunks(file: IO[bytes], check: Callable[[], object], size: int = sys.maxsize) -> Iterator[bytes]:
    """Yield a file, or so much of it, for as long as the certificate of the one who reads it holds; then break off."""
    checked = time.monotonic()
    with file:
        while size > 0 and (chunk := file.read(min(size, _CHUNK))):
            if time.monotonic() > checked + _RECHECK_SECONDS:
                check()
                checked = time.monotonic()
            size -= len(chunk)
            yield chunk


class _Told:
    """Gives each request an id, and tells of it in the log when it has been answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client") or ("",)
        given = Headers(scope=scope).get(logs.REQUEST)
        request, status, began = logs.begin_request(given, client[0]), 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[logs.REQUEST] = request
            await send(message)

        about = {names.HTTP_METHOD: scope["method"]}
        within = traceparent.valid(Headers(scope=scope).get(traceparent.NAME))
        try:
            # Without the path, which names an asset.
            with spans.span(scope["method"], Kind.SERVER, about, within=within) as span:
                await self._app(scope, receive, answer)
                span.note(names.HTTP_STATUS, status)
                if status >= 500:
                    span.fail(str(status))
        finally:
            seconds = round(time.perf_counter() - began, 4)
            log.info("request.answered", method=scope["method"], path=scope["path"], status=status, seconds=seconds)


def _explain(request: Request, error: Any) -> Response:
    log.info("request.refused", path=request.url.path, status=error.status_code, reason=error.detail)
    return _json({"error": error.detail}, error.status_code, error.headers, request.method)


def _internal_error(request: Request, error: Exception) -> Response:
    log.error("asset.error", path=request.url.path, error=type(error).__name__)
    return _json({"error": "the asset store ran into an error; its log says more"}, 500, None, request.method)


def _json(content: Mapping[str, str], status: int, headers: Mapping[str, str] | None, method: str) -> Response:
    if method == "HEAD":
        return Response(status_code=status, headers=headers)
    return JSONResponse(content, status_code=status, headers=headers)
