"""What `spans` makes of its blocks in a process that is traced. Imported only there.

Sampler, ids, queue and exporter are those of OpenTelemetry's SDK. A span is made once, when it has ended, as the
exporter reads it: the SDK's own, which anybody may change at any time, takes more than twice as long (decision 56).
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from orchestrator import __version__
from orchestrator.telemetry import names
from orchestrator.telemetry.switch import SwitchError

_SCOPE = InstrumentationScope("orchestrator", __version__)
_LAST_SECONDS = 3.0
# A proxy that the environment names is for other programs.
_DIRECT: Any = (("grpc.enable_http_proxy", 0),)
_FAILED, _NEUTRAL = Status(StatusCode.ERROR), Status(StatusCode.UNSET)


class Told:
    """A span that has not ended yet; see `spans.Span`.

    Args:
        where: it stands.
        attributes: the first of them.
    """

    def __init__(self, where: SpanContext, attributes: dict[str, str | int]) -> None:
        trace_id, span_id = f"{where.trace_id:032x}", f"{where.span_id:016x}"
        self.where = where
        self.attributes = attributes
        self.failed = False
        self.traceparent: str | None = f"00-{trace_id}-{span_id}-{where.trace_flags:02x}"
        self.ids = {names.TRACE_ID: trace_id, names.SPAN_ID: span_id}

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self.attributes[name] = value

    def fail(self, kind: str) -> None:
        """Note that it failed."""
        self.failed = True
        self.attributes[names.ERROR_TYPE] = kind


_innermost: ContextVar[Told | None] = ContextVar("span", default=None)


class _Known(Resource):
    """What a process is; its hash is asked for each span that is sent, and the SDK's writes all of it as JSON."""

    __hash__ = object.__hash__


class Tracing:
    """Traces this process.

    Args:
        provider: says what the process is, which traces are kept, and what ids they have.
        processor: is given what has ended.
    """

    def __init__(self, provider: TracerProvider, processor: BatchSpanProcessor) -> None:
        self._resource = provider.resource
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._processor = processor

    @classmethod
    def exporting(cls, service: str, attributes: Mapping[str, str]) -> "Tracing":
        """Return one whose spans are sent to a collector by OTLP over gRPC, as OpenTelemetry's variables say.

        Raises:
            SwitchError: one of them is wrong.
        """
        own = {
            names.SERVICE: f"{names.NAMESPACE}-{service}",
            names.SERVICE_NAMESPACE: names.NAMESPACE,
            names.SERVICE_VERSION: __version__,
            **attributes,
        }
        # What the operator says of a process goes before what it says of itself.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        known = _Known(resource.attributes, resource.schema_url)
        try:
            provider = TracerProvider(resource=known, shutdown_on_exit=False)
            return cls(provider, BatchSpanProcessor(OTLPSpanExporter(channel_options=_DIRECT)))
        except Exception as error:
            raise SwitchError(f"a variable of OpenTelemetry (OTEL_…) is wrong: {error}") from error

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
        links = () if after is None else (Link(_read(after)),)
        parent = None if root else self._parent(within)
        told = self._begun(name, SpanKind[kind], dict(attributes or {}), parent, links)
        token = _innermost.set(told)
        begun = time.time_ns()
        try:
            yield told
        except BaseException as error:
            # Neither its message nor its lines: they may hold what is nobody else's.
            if not told.failed:
                told.fail(type(error).__qualname__)
            raise
        finally:
            _innermost.reset(token)
            if told.where.trace_flags.sampled:
                self._processor.on_end(
                    ReadableSpan(
                        name,
                        told.where,
                        parent,
                        self._resource,
                        told.attributes,
                        links=links,
                        kind=SpanKind[kind],
                        status=_FAILED if told.failed else _NEUTRAL,
                        start_time=begun,
                        end_time=time.time_ns(),
                        instrumentation_scope=_SCOPE,
                    )
                )

    def _parent(self, within: str | None) -> SpanContext | None:
        if within is not None:
            return _read(within)
        around = _innermost.get()
        return None if around is None else around.where

    def _begun(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, str | int],
        parent: SpanContext | None,
        links: tuple[Link, ...],
    ) -> Told:
        if parent is None:
            context, trace_id = Context(), self._ids.generate_trace_id()
        else:
            context, trace_id = set_span_in_context(NonRecordingSpan(parent), Context()), parent.trace_id
        decision = self._sampler.should_sample(context, trace_id, name, kind, attributes, links).decision
        flags = TraceFlags(TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        return Told(SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=flags), attributes)

    def innermost(self) -> Told | None:
        """Return the span in whose block this is."""
        return _innermost.get()

    def close(self) -> None:
        """Send what was not sent yet, for some seconds: a collector that is away holds up nobody's end."""
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        sending.join(_LAST_SECONDS)


def _read(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
