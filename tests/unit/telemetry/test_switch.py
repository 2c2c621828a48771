import pytest

from orchestrator.telemetry import switch

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_nothing_is_traced_unless_somebody_asks_for_it(environment: dict[str, str]) -> None:
    assert switch.wanted(environment) is None


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        (ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c:4317"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SDK_DISABLED": "false"}, next(iter(ENDPOINT))),
    ],
)
def test_a_collector_is_named_or_the_exporter(environment: dict[str, str], variable: str) -> None:
    assert switch.wanted(environment) == variable


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is wrong: expected otlp or none"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "OTEL_EXPORTER_OTLP_PROTOCOL is wrong"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "OTLP_CERTIFICATE is wrong: expected a file"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "/none"}, "TRACES_CLIENT_KEY is wrong: expected a file"),
    ],
)
def test_what_cannot_be_had_is_said(environment: dict[str, str], said: str) -> None:
    with pytest.raises(switch.SwitchError, match=said):
        switch.wanted(environment)
