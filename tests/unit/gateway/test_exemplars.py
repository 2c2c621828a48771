"""What `/metrics` tells of traces, to who asks in OpenMetrics."""

import asyncio
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from orchestrator.calls import metrics
from orchestrator.core.errors import UnavailableError
from orchestrator.core.vitals import Vitals
from orchestrator.gateway import monitor
from orchestrator.gateway.metrics import exposition
from orchestrator.gateway.server import application
from orchestrator.telemetry import spans
from orchestrator.telemetry.tracing import Tracing

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tracing = Tracing(TracerProvider(shutdown_on_exit=False), BatchSpanProcessor(InMemorySpanExporter()))
    monkeypatch.setattr(spans, "_own", tracing)
    monkeypatch.setattr(metrics, "_exemplary", False)
    yield
    tracing.close()


def nowhere() -> Vitals:
    raise UnavailableError("there is no database")


def scraped(*, exemplars: bool) -> httpx.Response:
    async def ready() -> None:
        """It is, always."""

    async def get() -> httpx.Response:
        routes = monitor.routes(ready, partial(exposition, REGISTRY, nowhere), exemplars=exemplars)
        transport = httpx.ASGITransport(application(routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/metrics", headers=OPENMETRICS)

    return asyncio.run(get())


def started(organization: str) -> str:
    """Count a task that was claimed within a span; return the id of its trace."""
    with spans.span("claim") as span:
        metrics.started(organization, 2.0)
    assert span.traceparent is not None
    return span.traceparent.split("-")[1]


@pytest.mark.usefixtures("traced")
def test_a_duration_names_its_trace_where_that_is_wanted() -> None:
    unnamed = started("unnamed")
    metrics.show_exemplars()
    named = started("named")
    shown = scraped(exemplars=True)
    assert shown.headers["content-type"].startswith("application/openmetrics-text")
    assert shown.text.endswith("# EOF\n")
    (line,) = [line for line in shown.text.splitlines() if named in line]
    assert line.startswith('orchestrator_task_schedule_to_start_seconds_bucket{le="5.0",organization="named"} 1.0 # {')
    assert unnamed not in shown.text
    plain = scraped(exemplars=False)
    assert plain.headers["content-type"].startswith("text/plain")
    assert named not in plain.text
