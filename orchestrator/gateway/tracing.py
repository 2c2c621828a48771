"""A span for each request to the HTTP API, within the caller's."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Kind
from orchestrator.telemetry.traceparent import NAME, valid


def traced(routes: Sequence[Route]) -> Sequence[Route]:
    """Return routes whose requests are traced; the same where nothing is."""
    return [_traced(route) for route in routes] if spans.on() else routes


def _traced(route: Route) -> Route:
    async def endpoint(request: Request) -> Response:
        return await answered(request, route.path, route.endpoint)

    return Route(route.path, endpoint, methods=list(route.methods or ()))


async def answered(request: Request, route: str, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request within a span of its own.

    Args:
        request: which.
        route: its path, without the keys and names that are in it.
        answer: answers it.
    """
    about = {names.HTTP_METHOD: request.method, names.HTTP_ROUTE: route}
    with spans.span(f"{request.method} {route}", Kind.SERVER, about, within=valid(request.headers.get(NAME))) as span:
        response = await answer(request)
        span.note(names.HTTP_STATUS, response.status_code)
        if response.status_code >= 500:
            span.fail(str(response.status_code))
        return response
