"""The span of a poke that this node works on: it goes on where the relay sent it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from orchestrator.core import pokes
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Kind, Span, Value
from orchestrator.telemetry.traceparent import NAME
from workers.settings import WorkerSettings


def processing(settings: WorkerSettings, request: Any, about: Mapping[str, Value]) -> AbstractContextManager[Span]:
    """Trace a block that does what a poke asks for.

    Args:
        settings: the worker's.
        request: Celery's, whose headers the consumer has let pass.
        about: attributes that say what it asks for.
    """
    queue = pokes.queue(settings.organization)
    on_redis = pokes.on_redis(settings.broker_url.get_secret_value())
    attributes = {**names.messaging(names.PROCESS, queue, on_redis=on_redis), **about}
    return spans.span(f"{names.PROCESS} {queue}", Kind.CONSUMER, attributes, within=request.get(NAME))
