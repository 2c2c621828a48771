"""The span of a poke that somebody works on: it goes on where the relay sent it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from orchestrator.core import pokes
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Kind, Span, Value
from orchestrator.telemetry.traceparent import NAME


def processing(queue: str, broker_url: str, request: Any, about: Mapping[str, Value]) -> AbstractContextManager[Span]:
    """Trace a block that does what a poke asks for.

    Args:
        queue: where it came from.
        broker_url: the broker that holds the queue.
        request: Celery's, whose headers the consumer has let pass.
        about: attributes that say what it asks for.
    """
    attributes = {**names.messaging(names.PROCESS, queue, on_redis=pokes.on_redis(broker_url)), **about}
    return spans.span(f"{names.PROCESS} {queue}", Kind.CONSUMER, attributes, within=request.get(NAME))
