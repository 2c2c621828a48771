"""A collector of traces in the process of the test: it takes by OTLP over gRPC what processes export, and keeps it."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

KINDS = {value: name.removeprefix("SPAN_KIND_") for name, value in trace.Span.SpanKind.items()}


@dataclass(frozen=True)
class Exported:
    """A span as it was exported.

    Args:
        service: of the process.
        name: its own.
        kind: as OpenTelemetry calls it.
        trace: id, in hexadecimal.
        id: the same, its own.
        parent: the same; empty without one.
        links: trace and id of those that it follows.
        attributes: its own.
        failed: whether its status is an error.
    """

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: Mapping[str, str | int]
    failed: bool


class Collector(services.TraceServiceServicer):
    """Keeps spans, by their id.

    Attributes:
        address: host:port, once it serves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[str, Exported] = {}
        self.address = ""

    def Export(self, request: service.ExportTraceServiceRequest, _: object) -> service.ExportTraceServiceResponse:
        """Take spans."""
        with self._lock:
            for resource in request.resource_spans:
                name = str(_read(resource.resource.attributes)["service.name"])
                for scope in resource.scope_spans:
                    self._spans |= {span.id: span for span in (_exported(name, each) for each in scope.spans)}
        return service.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Exported]:
        """All that have come."""
        with self._lock:
            return list(self._spans.values())

    @property
    def environment(self) -> dict[str, str]:
        """What a process is told that is to export to it, without much delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}", "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def children(self, of: Exported) -> list[Exported]:
        """Return the spans that are a part of one."""
        return [span for span in self.spans if (span.trace, span.parent) == (of.trace, of.id)]


def _read(attributes: "list[common.KeyValue]") -> dict[str, str | int]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _exported(name: str, span: trace.Span) -> Exported:
    return Exported(
        service=name,
        name=span.name,
        kind=KINDS[span.kind],
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_read(span.attributes),
        failed=span.status.code == trace.Status.STATUS_CODE_ERROR,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve a collector as long as the block runs."""
    collector = Collector()
    with ThreadPoolExecutor(2, "collector") as threads:
        server = grpc.server(threads)
        services.add_TraceServiceServicer_to_server(collector, server)
        collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield collector
        finally:
            server.stop(None).wait()
