"""Counts and durations of calls, for Prometheus."""

from prometheus_client import Counter, Histogram

_CALLS = Counter("orchestrator_grpc_calls", "Calls by method and gRPC status code", ["method", "code"])
_SECONDS = Histogram("orchestrator_grpc_seconds", "Seconds that calls took", ["method"])


def observe(method: str, code: object, seconds: float) -> None:
    """Count a call that has been answered.

    Args:
        method: its name.
        code: its gRPC status code; None or 0 for OK.
        seconds: how long it took.
    """
    _CALLS.labels(method, getattr(code, "name", None) or "OK").inc()
    _SECONDS.labels(method).observe(seconds)
