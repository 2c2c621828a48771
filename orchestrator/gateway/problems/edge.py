"""What every request to the address of problems passes through: which host and page it names, and who answers it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator import log as logs
from orchestrator.calls.refusals import refusal
from orchestrator.gateway.problems import refused
from orchestrator.gateway.problems.refused import RefusedError
from orchestrator.gateway.problems.waiting import GoneError

log = structlog.get_logger()

Handler = Callable[[Request], Awaitable[Response]]
"""From a request to its answer."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Doors:
    """Which hosts and pages a request may name.

    Args:
        hosts: without ports: `.a.example` is a.example and all below it, `*` any.
        origins: of pages, as in https://console.example.
    """

    hosts: Sequence[str]
    origins: Sequence[str] = ()

    @classmethod
    def of(cls, address: str, is_loopback: bool, hosts: Sequence[str], origins: Sequence[str]) -> "Doors":
        """Return those of an address: its own host, what the operator adds, and on loopback all names of that.

        Args:
            address: host:port that is listened on; one that stands for all of the machine is known by any name.
            is_loopback: whether only this machine reaches it.
            hosts: more of them.
            origins: of pages.
        """
        host = address.rpartition(":")[0]
        if is_loopback:
            return cls((*_LOOPBACK, host, *hosts), origins)
        if host in ("0.0.0.0", "[::]", "::", ""):  # noqa: S104 - it is not listened on here
            # Whoever calls there has to show who it is.
            return cls(hosts or ("*",), origins)
        return cls((host, *hosts), origins)

    def problem(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request is turned away, None where it is not."""
        host = headers.get("host", "")
        named = _HOST.fullmatch(host)
        if named is None or not _allowed(named[1], self.hosts):
            return (
                f"the host {host[:100]!r} of the request is not one of this address; call it by its own name, or "
                "have its operator add the name to ORCHESTRATOR_PROBLEMS_HOSTS"
            )
        origin = headers.get("origin")
        if origin is None or origin in self.origins or _authority(origin) == host.lower():
            return None
        return (
            f"pages of {origin[:100]!r} may not call this address; its operator may add the origin to "
            "ORCHESTRATOR_PROBLEMS_ORIGINS"
        )


def _authority(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _allowed(host: str, hosts: Sequence[str]) -> bool:
    named = host.lower()
    return any(
        each == "*" or each.lower() in (named, f".{named}") or (each.startswith(".") and named.endswith(each.lower()))
        for each in hosts
    )


def route(path: str, challenge: str, **handlers: Handler) -> Route:
    """Return a route.

    Args:
        path: with parameters in braces.
        challenge: the value of WWW-Authenticate, for a caller that nobody knows.
        handlers: by the method of HTTP.
    """

    async def endpoint(request: Request) -> Response:
        peer = request.client.host if request.client else ""
        called = logs.begin_request(request.headers.get(logs.REQUEST), peer)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            response = await handlers[method](request)
        except GoneError:
            # Nobody hears it.
            response = refused.error(499, "the client has hung up")
        except RefusedError as error:
            response = refused.answer(error.refusal, challenge)
        except Exception as error:
            response = refused.answer(refusal("problems", error), challenge)
        response.headers[logs.REQUEST] = called
        return response

    return Route(path, endpoint, methods=[*handlers])


class Application(Starlette):
    """Serves routes to those who may name its host, and answers all others with an object, too.

    Args:
        routes: of all calls.
        doors: which hosts and pages a request may name.
    """

    def __init__(self, routes: Sequence[Route], doors: Doors) -> None:
        handlers: Mapping[Any, Any] = {HTTPException: _unrouted}
        super().__init__(routes=routes, exception_handlers=handlers)
        # A path with a slash too many would be answered without an object.
        self.router.redirect_slashes = False
        self._doors = doors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "http" and (problem := self._doors.problem(Request(scope).headers)):
            await _turned_away(Request(scope), problem, 403)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _unrouted(request: Request, error: HTTPException) -> Response:
    words = {
        404: f"there is nothing at {request.url.path[:200]}; /openapi/problems.json says what there is",
        405: f"{request.method} is not what {request.url.path[:200]} takes",
    }
    return _turned_away(request, words.get(error.status_code, error.detail), error.status_code, error.headers)


def _turned_away(request: Request, problem: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    peer = request.client.host if request.client else ""
    called = logs.begin_request(request.headers.get(logs.REQUEST), peer)
    log.info("call.refused", method=request.method, reason=problem, status=status)
    return refused.error(status, problem, {**(headers or {}), logs.REQUEST: called})
