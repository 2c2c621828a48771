"""Serves an organization's assets to its peers, over HTTPS with mutual TLS.

Functions, openers, descriptions, models and logs, for reading; never data samples, and nothing is written. The
orchestrator says who may read what.
"""

import asyncio
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import grpc
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator import log as logs
from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from orchestrator.core.identity import Authorities, read_authorities, read_claims, verify
from workers.access import Access
from workers.channels import connect
from workers.settings import StoreSettings
from workers.store import AssetStore

log = structlog.get_logger()

_CHUNK = 256 * 1024
_SHUTDOWN_SECONDS = 10


def make_app(store: AssetStore, access: Access, authorities: Authorities) -> Starlette:
    """Return the HTTP application of an asset store.

    Args:
        store: the files.
        access: the rule of who may read them.
        authorities: who may vouch for which organization.
    """

    # Not async: the questions to the orchestrator and to the disk wait, so Starlette gives each a thread.
    def read(request: Request) -> Response:
        """Serve one file to the organization of the client certificate."""
        name = request.path_params["name"]
        peers = _identify(getattr(request.state, "certificate", None), authorities)
        _check(access, name, peers)
        try:
            file, size = store.open(name)
        except FileNotFoundError as error:
            raise HTTPException(404, f"the asset store has no {name}") from error
        log.info("asset.read", name=name, organizations=sorted(peers), method=request.method)
        headers = {"Content-Length": str(size)}
        if request.method == "HEAD":
            file.close()
            return Response(headers=headers, media_type="application/octet-stream")
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/octet-stream")

    return Starlette(
        routes=[Route("/{name:path}", read, methods=["GET"])],
        exception_handlers={HTTPException: _explain, Exception: _internal_error},
    )


def serve(settings: StoreSettings) -> int:
    """Run an asset store's server in this process until it is told to end (TERM or INT); return its exit code.

    Args:
        settings: the store's.
    """
    logs.configure(settings.log_level)
    certificates = _read_certificates(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends gracefully, then sends itself the signal again; that one must find a handler.
        signal.signal(number, lambda *_: None)
    with connect(settings) as channels:
        access = Access(channels, settings.organization, settings.store_url)
        app = make_app(AssetStore(settings.store_root), access, read_authorities(certificates))
        host, _, port = settings.store_address.rpartition(":")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host.strip("[]"),
                port=int(port),
                http=_IdentifyingProtocol,
                ws="none",
                lifespan="off",
                ssl_certfile=settings.store_cert,
                ssl_keyfile=settings.store_key,
                ssl_cert_reqs=ssl.CERT_REQUIRED,
                ssl_context_factory=_trusting(certificates),
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        log.info("store.serving", organization=settings.organization, address=settings.store_address)
        server.run()
    return 0 if server.started else 1


class _IdentifyingProtocol(H11Protocol):
    """Gives each request the client certificate of its connection, which uvicorn does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        certificate = connection.getpeercert(True) if connection is not None else None
        # A copy: the state that uvicorn hands in is that of all connections.
        self.app_state = {**self.app_state, "certificate": certificate}


def _read_certificates(settings: StoreSettings) -> Mapping[str, list[bytes]]:
    return {
        folder.name: [file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()]
        for folder in sorted(settings.tls_client_ca_cert_dir.iterdir())
        if folder.is_dir()
    }


def _trusting(
    certificates: Mapping[str, list[bytes]],
) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    def make(_: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = default()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for pems in certificates.values():
            for pem in pems:
                context.load_verify_locations(cadata=pem.decode("ascii"))
        return context

    return make


def _identify(certificate: bytes | None, authorities: Authorities) -> frozenset[str]:
    """Return the organizations that the certificate speaks for."""
    if certificate is None:
        raise HTTPException(401, "a client certificate is needed")
    claims = read_claims(certificate)
    verified = set()
    for organization in claims.organizations:
        try:
            verify(claims, organization, authorities)
        except PermissionDeniedError:
            continue
        verified.add(organization)
    if not verified:
        raise HTTPException(
            401,
            "the client certificate speaks for no known organization: its O= and the authority that issued it "
            "must belong together",
        )
    return frozenset(verified)


def _check(access: Access, name: str, peers: frozenset[str]) -> None:
    try:
        access.check(name, peers)
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from error
    except PermissionDeniedError as error:
        log.warning("asset.denied", name=name, organizations=sorted(peers))
        raise HTTPException(403, str(error)) from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            raise HTTPException(404, f"the orchestrator does not know {name}") from error
        log.warning("asset.unanswered", name=name, error=error.details())
        raise HTTPException(503, "the orchestrator could not be asked for the permission; try again later") from error


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
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
