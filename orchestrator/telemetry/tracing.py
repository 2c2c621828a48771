"""What `spans` makes of its blocks: spans of OpenTelemetry's SDK. Imported only where something is traced."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer

from orchestrator import __version__
from orchestrator.telemetry import names

_SCOPE = "orchestrator"
_LAST_SECONDS = 3.0


class Told:
    """A span that is traced; see `spans.Span`.

    Args:
        span: OpenTelemetry's.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self.failed = False

    @property
    def traceparent(self) -> str | None:
        """Where it stands."""
        return _written(self._span.get_span_context())

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        """Note that it failed."""
        self.failed = True
        self._span.set_status(StatusCode.ERROR)
        self._span.set_attribute(names.ERROR_TYPE, kind)


class Tracing:
    """Makes spans.

    Args:
        tracer: OpenTelemetry's.
        provider: to be closed with it; None where it is somebody else's.
    """

    def __init__(self, tracer: Tracer, provider: TracerProvider | None = None) -> None:
        self._tracer = tracer
        self._provider = provider

    @classmethod
    def exporting(cls, service: str, attributes: Mapping[str, str]) -> "Tracing":
        """Return one whose spans are sent to a collector by OTLP over gRPC, as OpenTelemetry's variables say."""
        own = {
            names.SERVICE: f"{names.NAMESPACE}-{service}",
            names.SERVICE_NAMESPACE: names.NAMESPACE,
            names.SERVICE_VERSION: __version__,
            **attributes,
        }
        # What the operator says of a process goes before what it says of itself.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider.get_tracer(_SCOPE, __version__), provider)

    @classmethod
    def of_program(cls) -> "Tracing":
        """Return that of the program, which has set up OpenTelemetry for itself, or not yet."""
        return cls(trace.get_tracer(_SCOPE, __version__))

    @contextmanager
    def span(
        self,
        name: str,
        kind: str,
        attributes: Mapping[str, str | int] | None,
        within: str | None,
        after: str | None,
        root: bool,
    ) -> Iterator[Told]:
        """Trace a block; see `spans.span`."""
        context = None
        if root:
            context = Context()
        elif within is not None:
            context = trace.set_span_in_context(NonRecordingSpan(_read(within)), Context())
        links = None if after is None else [Link(_read(after))]
        span = self._tracer.start_span(name, context, SpanKind[kind], attributes, links)
        token = contexts.attach(trace.set_span_in_context(span))
        told = Told(span)
        try:
            yield told
        except BaseException as error:
            # Neither its message nor its lines: they may hold what is nobody else's.
            if not told.failed:
                told.fail(type(error).__qualname__)
            raise
        finally:
            contexts.detach(token)
            span.end()

    def current(self) -> str | None:
        """Return where the span stands in whose block this is."""
        return _written(trace.get_current_span().get_span_context())

    def close(self) -> None:
        """Send what was not sent yet, for some seconds: a collector that is away holds up nobody's end."""
        if self._provider is not None:
            sending = threading.Thread(target=self._provider.shutdown, daemon=True)
            sending.start()
            sending.join(_LAST_SECONDS)


def _written(where: SpanContext) -> str | None:
    if not where.is_valid:
        return None
    return f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags & TraceFlags.SAMPLED:02x}"


def _read(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
