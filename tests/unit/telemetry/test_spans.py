"""Spans where nobody wants them, and in a program that has OpenTelemetry of its own."""

import subprocess
import sys

import pytest

from orchestrator.telemetry import names, spans, traceparent

OFF = """
import sys
import orchestrator.server, orchestrator.client, beat.app, workers.node.app, workers.assets.store_server
import workers.runtime.app, orchestrator_modules.agent.main
from orchestrator.telemetry import spans

spans.begin("server")
headers = {}
with spans.span("a") as span, spans.calling("b", {}, headers):
    span.note("name", 1)
assert not spans.on() and span.traceparent is spans.current() is None and not spans.ids() and not headers
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
OF_PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orchestrator.telemetry import spans

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
headers = {}
with trace.get_tracer("mine").start_as_current_span("mine"), spans.calling("ours", {}, headers) as span:
    assert headers == {"traceparent": span.traceparent}
ours, mine = kept.get_finished_spans()
assert (ours.name, mine.name) == ("ours", "mine")
assert ours.parent.span_id == mine.context.span_id and not spans.on()
print("a part of it")
"""


def said(program: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": ""}, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_nothing_of_opentelemetry_is_imported_unless_it_is_wanted() -> None:
    assert said(OFF) == "[]"


def test_the_calls_of_a_program_that_is_traced_are_a_part_of_its_trace() -> None:
    assert said(OF_PROGRAM) == "a part of it"


def test_without_the_package_the_variable_that_asks_for_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setattr(spans, "_PARTS", ("opentelemetry_that_is_not_there.sdk",))
    with pytest.raises(spans.switch.SwitchError, match=r"^OTEL_TRACES_EXPORTER asks .* install the extra"):
        spans.begin("server")


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_traceparent_passes(flags: str) -> None:
    value = f"00-{TRACE}-{SPAN}-{flags}"
    assert traceparent.valid(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        b"00",
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"01-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-ff",
        f"00-{TRACE}-{SPAN}-04",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_nothing_else_passes_for_one(value: object) -> None:
    assert traceparent.valid(value) is None


def test_no_two_names_are_the_same() -> None:
    ours = [value for name, value in vars(names).items() if name.isupper() and isinstance(value, str) and "." in value]
    assert len(ours) == len(set(ours))
