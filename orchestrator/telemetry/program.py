"""What `spans` makes of its blocks in a program that uses the SDK and has set up OpenTelemetry for itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from orchestrator.telemetry import names


class Told:
    """A span of the program's; see `spans.Span`.

    Args:
        span: OpenTelemetry's.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self.failed = False

    @property
    def traceparent(self) -> str | None:
        """Where it stands; None where the program traces nothing after all."""
        where = self._span.get_span_context()
        return f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags & 3:02x}" if where.is_valid else None

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        """Note that it failed."""
        self.failed = True
        self._span.set_status(StatusCode.ERROR)
        self._span.set_attribute(names.ERROR_TYPE, kind)


@contextmanager
def span(name: str, kind: str, attributes: Mapping[str, str | int] | None) -> Iterator[Told]:
    """Trace a block as a part of what the program does; see `spans.span`."""
    tracer = trace.get_tracer("orchestrator")
    with tracer.start_as_current_span(
        name, kind=SpanKind[kind], attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as begun:
        told = Told(begun)
        try:
            yield told
        except BaseException as error:
            if not told.failed:
                told.fail(type(error).__qualname__)
            raise
