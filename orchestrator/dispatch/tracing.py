"""The span of a poke that is sent: it goes on with the trace of the call that wrote it, whose transaction is long over.

A later attempt begins a trace of its own, with a link to the attempt before: what was tried again and again for days is
not one thing that took days.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from orchestrator.core import pokes
from orchestrator.engine.outbox import Poke
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Kind
from orchestrator.telemetry.traceparent import NAME, valid


def is_again(poke: Poke) -> bool:
    """Tell whether a poke announces a later attempt than the first."""
    return poke.message == pokes.RUN_TASK and poke.attempt > 1


@contextmanager
def sending(poke: Poke, broker: str, earlier: str | None) -> Iterator[Mapping[str, str]]:
    """Trace a block that sends a poke; yield what its message bears besides.

    Args:
        poke: which.
        broker: the URL of where it goes.
        earlier: the traceparent of the attempt before.
    """
    if not spans.on() or poke.message not in pokes.KEYWORDS:
        yield {}
        return
    again, written = is_again(poke), valid(poke.traceparent)
    attributes = names.messaging(names.SEND, poke.queue, on_redis=pokes.on_redis(broker))
    if poke.message == pokes.BUILD_FUNCTION:
        attributes[names.FUNCTION] = str(poke.key)
    else:
        attributes |= {names.TASK: str(poke.key), names.ATTEMPT: poke.attempt}
    with spans.span(
        f"{names.SEND} {poke.queue}",
        Kind.PRODUCER,
        attributes,
        within=None if again else written,
        after=(valid(earlier) or written) if again else None,
        root=again or written is None,
    ) as span:
        yield {} if span.traceparent is None else {NAME: span.traceparent}
