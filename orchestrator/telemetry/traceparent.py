"""Where a span stands, as it travels: W3C's `traceparent`, version 00, with the flags that level 2 knows.

Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re

NAME = "traceparent"
"""In gRPC's metadata, among HTTP's headers and those of a message; in the outbox the column."""

VARIABLE = "TRACEPARENT"
"""In the environment of a process; source: OpenTelemetry, environment variables as context propagation carriers."""

_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")


def valid(value: object) -> str | None:
    """Return a value that is a traceparent; None for all else, which W3C has everybody ignore."""
    return value if isinstance(value, str) and _VALID.fullmatch(value) else None
