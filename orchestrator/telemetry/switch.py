"""Whether a process is traced, by the variables that every program with OpenTelemetry knows.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from collections.abc import Mapping

_DISABLED = "OTEL_SDK_DISABLED"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FILES = tuple(
    f"OTEL_EXPORTER_OTLP_{part}{name}"
    for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    for part in ("TRACES_", "")
)
_OTLP, _NONE, _GRPC = "otlp", "none", "grpc"


class SwitchError(Exception):
    """The variables ask for what cannot be had; the message is one line that says what to do."""


def wanted(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the variable that asks for traces, None where none does: by default nothing is traced.

    Args:
        environment: the variables.

    Raises:
        SwitchError: they are wanted in a way that is not known here.
    """
    exporter = environment.get(_EXPORTER, "").strip()
    if environment.get(_DISABLED, "").lower() == "true" or exporter == _NONE:
        return None
    variable = _EXPORTER if exporter else next((name for name in _ENDPOINTS if environment.get(name)), None)
    if variable is None:
        return None
    if exporter not in ("", _OTLP):
        raise SwitchError(f"{_EXPORTER} is wrong: expected {_OTLP} or {_NONE}")
    for name in _PROTOCOLS:
        if environment.get(name, "") not in ("", _GRPC):
            raise SwitchError(f"{name} is wrong: expected {_GRPC}, which collectors take at port 4317")
    for name in _FILES:
        # The exporter itself would go on, and trust others than it was told.
        if environment.get(name) and not os.access(environment[name], os.R_OK):
            raise SwitchError(f"{name} is wrong: expected a file that can be read")
    return variable
