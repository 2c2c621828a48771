"""Serves an organization's assets to its peers, over HTTPS with mutual TLS.

Functions, openers, descriptions, models and logs, for reading; never data samples. The orchestrator says who may read
what. What is written is in `upload_server`.
"""

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any

import grpc
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator import log as logs
from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from orchestrator.core.identity import Presented, Trust
from orchestrator.files.tls import renewed_context
from orchestrator.files.trust import watch_trust
from orchestrator.listening import IdentifyingProtocol, Limits, Listener, runner
from workers.assets import task_logs
from workers.assets.access import Access
from workers.assets.store import AssetStore
from workers.assets.upload_server import Removal, UploadServer
from workers.assets.uploads import Uploads
from workers.channels import connect
from workers.settings import StoreSettings

log = structlog.get_logger()

UPLOADS = ".uploads"
"""The folder of a local store for what is on its way; no name leads to it."""

_CHUNK = 256 * 1024
_SHUTDOWN_SECONDS = 10
_RECHECK_SECONDS = 10.0
_RANGE = re.compile(r"bytes=([0-9]{1,18})-")


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
    logs.configure(settings.log_level)
    try:
        trust = watch_trust(settings.tls_client_ca_cert_dir, settings.tls_deny_list)
        context = renewed_context("store_certificate", settings.store_cert, settings.store_key, trust, demands=True)
    except (OSError, ValueError) as error:
        log.error("store.not_started", error=f"the certificate files cannot be used: {error}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends gracefully, then sends itself the signal again; that one must find a handler.
        signal.signal(number, lambda *_: None)
    with connect(settings) as channels:
        access = Access(channels, settings.organization, settings.store_url)
        store = AssetStore(settings.store_root)
        uploads = _uploads(store, settings)
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
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        log.info("store.serving", organization=settings.organization, address=settings.store_address)
        with listener, Removal(uploads), runner(limits) as running:
            running.run(server.serve(sockets=[listener]))
    return 0 if server.started else 1


def _uploads(store: AssetStore, settings: StoreSettings) -> Uploads | None:
    folder = store.local / UPLOADS if store.local else settings.store_uploads
    if folder is None:
        return None
    limits = (settings.store_upload_limit, settings.store_disk_reserve, settings.store_upload_age)
    try:
        return Uploads(store, folder, *limits)
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


def _explain(request: Request, error: Any) -> Response:
    return _json({"error": error.detail}, error.status_code, error.headers, request.method)


def _internal_error(request: Request, error: Exception) -> Response:
    log.error("asset.error", path=request.url.path, error=type(error).__name__)
    return _json({"error": "the asset store ran into an error; its log says more"}, 500, None, request.method)


def _json(content: Mapping[str, str], status: int, headers: Mapping[str, str] | None, method: str) -> Response:
    if method == "HEAD":
        return Response(status_code=status, headers=headers)
    return JSONResponse(content, status_code=status, headers=headers)
