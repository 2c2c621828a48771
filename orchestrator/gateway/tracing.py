"""A span for each request to the HTTP API, within the caller's."""

from collections.abc import Sequence
from typing import Any

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
    answer: Any = route.endpoint

    async def endpoint(request: Request) -> Response:
        # Not the path itself: there may be keys and names in it.
        about = {names.HTTP_METHOD: request.method, names.HTTP_ROUTE: route.path}
        within = valid(request.headers.get(NAME))
        with spans.span(f"{request.method} {route.path}", Kind.SERVER, about, within=within) as span:
            response: Response = await answer(request)
            span.note(names.HTTP_STATUS, response.status_code)
            if response.status_code >= 500:
                span.fail(str(response.status_code))
            return response

    return Route(route.path, endpoint, methods=list(route.methods or ()))
