"""The paths of executions: which method of which path does what, and what every request passes through before."""

import errno
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import OrchestratorError, UnavailableError
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions import refused

log = structlog.get_logger()

Handler = Callable[..., Awaitable[Response]]
"""From a request and the parts of its path to the answer."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
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
        try:
            return await _answer(request, paths, settings)
        except (OrchestratorError, UnavailableError) as error:
            return refused.answer(refusal("executions", error), challenge)
        except OSError as error:
            log.error("executions.file_failed", reason=str(error))
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return refused.whole(507 if full else 500, "the disk is full" if full else "a file cannot be used")

    return [Route(path, endpoint, methods=_METHODS) for path in ("/api", "/api/{rest:rest}")]


async def _answer(request: Request, paths: Sequence[Path], settings: ExecutionSettings) -> Response:
    host = request.headers.get("host", "").partition(":")[0]
    if settings.allowed_hosts and host not in settings.allowed_hosts:
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
