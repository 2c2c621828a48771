"""Where a process that is traced sends its spans, in whatever environment, and what it says of one that is wrong."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.kit.collector import Collector, services

NOWHERE = "http://127.0.0.1:9"
_TRACED = """
from orchestrator.telemetry import spans
spans.begin("test")
with spans.span("a"):
    pass
spans.end()
"""
_TOLD = """
from orchestrator.telemetry import spans, switch
try:
    spans.begin("test")
except switch.SwitchError as error:
    print(error)
"""


def said(program: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_spans_reach_a_collector_past_the_proxy_of_a_company(host: str) -> None:
    if host == "[::1]" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    collector = Collector()
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        services.add_TraceServiceServicer_to_server(collector, server)
        collector.address = f"{host}:{server.add_insecure_port(f'{host}:0')}"
        server.start()
        proxies = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "grpc_proxy": NOWHERE}
        said(_TRACED, {**collector.environment, **proxies})
        server.stop(None).wait()
    assert [each.name for each in collector.spans] == ["a"]


@pytest.mark.parametrize(
    "variable",
    ["OTEL_EXPORTER_OTLP_TIMEOUT=abc", "OTEL_EXPORTER_OTLP_COMPRESSION=zz", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=99999"],
)
def test_a_variable_that_is_wrong_is_told_in_one_line(variable: str) -> None:
    name, _, value = variable.partition("=")
    told = said(_TOLD, {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, name: value})
    assert told.startswith("a variable of OpenTelemetry (OTEL_…) is wrong: ")
    assert told.count("\n") == 1
