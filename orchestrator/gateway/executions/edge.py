"""The paths of executions: which method of which path does what, and what every request passes through before."""

import asyncio
import contextlib
import errno
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator import log as logs
from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import OrchestratorError, UnavailableError
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway import tracing
from orchestrator.gateway.executions import refused
from orchestrator.telemetry import spans

log = structlog.get_logger()

Handler = Callable[..., Awaitable[Response]]
"""From a request and the parts of its path to the answer."""

_ANY_METHOD: Sequence[str] = ()
_NO_ROUTE = "/api/{rest:rest}"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::[0-9]*)?")
_GROUP = re.compile(r"\([^()]*\)")
_READ_ON_BYTES = 64 * 1024 * 1024
_READ_ON_SECONDS = 2.0
_JSON_RANGES = frozenset({"*/*", "*", "application/*", "application/json"})
_FILE_RANGES = _JSON_RANGES | {"application/octet-stream"}


@dataclass(frozen=True)
class Path:
    """A path, and what is done at it.

    Args:
        pattern: of all of it; its groups are handed over.
        handlers: by the method.
        file: whether it answers with a file.
    """

    pattern: re.Pattern[str]
    handlers: Mapping[str, Handler]
    file: bool = False

    @classmethod
    def of(cls, pattern: str, *, file: bool = False, **handlers: Handler) -> Self:
        """Return a path by a regular expression."""
        return cls(re.compile(pattern), handlers, file)

    @property
    def route(self) -> str:
        """The path without the ids that are in it."""
        return _GROUP.sub("{id}", self.pattern.pattern)

    @property
    def allowed(self) -> str:
        """The value of `Allow`."""
        methods = [*self.handlers, *(["HEAD"] if "GET" in self.handlers else []), "OPTIONS"]
        return ", ".join(methods)


class _Rest(Convertor[str]):
    """The rest of a path, whatever it holds: a line break, too."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())


def routes(paths: Sequence[Path], settings: ExecutionSettings, challenge: str) -> list[Route]:
    """Return the routes of everything below `/api/`.

    Args:
        paths: what is done at each.
        settings: of executions.
        challenge: the value of WWW-Authenticate, for a caller that nobody knows.
    """

    async def endpoint(request: Request) -> Response:
        peer = request.client.host if request.client else ""
        called = logs.begin_request(request.headers.get(logs.REQUEST), peer)
        response = await answer(request)
        await _read_on(request)
        response.headers[logs.REQUEST] = called
        return response

    async def answered(request: Request) -> Response:
        try:
            return await _answer(request, paths, settings)
        except (OrchestratorError, UnavailableError) as error:
            return refused.answer(refusal("executions", error), challenge)
        except OSError as error:
            log.error("executions.file_failed", reason=str(error))
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return refused.whole(507 if full else 500, "the disk is full" if full else "a file cannot be used")

    async def traced(request: Request) -> Response:
        found = _find(paths, request.scope["path"])
        return await tracing.answered(request, found[0].route if found else _NO_ROUTE, answered)

    answer = traced if spans.on() else answered
    return [Route(path, endpoint, methods=_ANY_METHOD) for path in ("/api", _NO_ROUTE)]


async def _answer(request: Request, paths: Sequence[Path], settings: ExecutionSettings) -> Response:
    host = _HOST.fullmatch(request.headers.get("host", ""))
    if host is None:
        return refused.whole(400, "the host of the request is no name of a host")
    if settings.allowed_hosts and not allowed(host[1], settings.allowed_hosts):
        return refused.whole(400, "the host of the request is none of ALLOWED_HOSTS")
    path = request.scope["path"]
    found = _find(paths, path)
    if found is None:
        if not path.endswith("/") and _find(paths, f"{path}/"):
            return _redirected(request)
        return refused.detail(404, "Not found.")
    place, groups = found
    method = "GET" if request.method == "HEAD" else request.method
    if method == "OPTIONS":
        return Response(b"{}", headers={"Allow": place.allowed}, media_type="application/json")
    handler = place.handlers.get(method)
    if handler is None:
        return refused.detail(405, f'Method "{request.method}" not allowed.', {"Allow": place.allowed})
    if not _accepted(request.headers.get("accept", ""), _FILE_RANGES if place.file else _JSON_RANGES):
        return refused.detail(406, "Could not satisfy the request Accept header.")
    answered = await handler(request, *groups)
    if request.method == "HEAD":
        # The same headers, the length with them, and nothing else.
        return Response(None, answered.status_code, dict(answered.headers))
    return answered


def allowed(host: str, hosts: Sequence[str]) -> bool:
    """Say whether a request may name a host.

    Args:
        host: without its port.
        hosts: that it may name: `.a.example` is a.example and all below it, `*` any.
    """
    named = host.lower()
    return any(
        each == "*" or each.lower() in (named, f".{named}") or (each.startswith(".") and named.endswith(each.lower()))
        for each in hosts
    )


async def _read_on(request: Request) -> None:
    """Read what a request brings beyond what its answer needed, up to a limit, and drop it.

    A connection that is closed over bytes which nobody has read is reset, and the client never sees the answer. Who
    expects to be told to go on has sent nothing yet, or reads while it sends.
    """
    if "expect" in request.headers:
        return
    left, coming = _READ_ON_BYTES, request.stream()
    # A RuntimeError says that all of it was read.
    with contextlib.suppress(ClientDisconnect, RuntimeError, StopAsyncIteration, TimeoutError):
        while left > 0:
            async with asyncio.timeout(_READ_ON_SECONDS):
                left -= len(await anext(coming))


def _find(paths: Sequence[Path], path: str) -> tuple[Path, tuple[str, ...]] | None:
    for each in paths:
        if match := each.pattern.fullmatch(path):
            return each, match.groups()
    return None


def _redirected(request: Request) -> Response:
    raw = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = request.scope["query_string"].decode("latin-1")
    return Response(None, 301, {"Location": f"{raw}/{'?' if query else ''}{query}"})


def _accepted(header: str, ranges: frozenset[str]) -> bool:
    if not header.strip():
        return True
    for each in header.split(","):
        media, *parameters = (part.strip().lower() for part in each.split(";"))
        if media in ranges and not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters):
            return True
    return False
