"""Counts and durations of calls, for Prometheus."""

from prometheus_client import Counter, Histogram

_CALLS = Counter("orchestrator_calls", "Calls by method and the name of gRPC's status code", ["method", "code"])
_SECONDS = Histogram("orchestrator_call_seconds", "Seconds that calls took", ["method"])
_REFUSED = Counter(
    "orchestrator_calls_refused", "Calls and subscriptions refused because too many were in hand", ["organization"]
)


def refused(organization: str) -> None:
    """Count a call that was refused because too many were in hand.

    Args:
        organization: whose; one that the gate let in, so that there are no more than were configured.
    """
    _REFUSED.labels(organization).inc()


def observe(method: str, outcome: str, seconds: float) -> None:
    """Count a call that has been answered.

    Args:
        method: its name.
        outcome: the name of gRPC's status code, whichever edge it came through.
        seconds: how long it took.
    """
    _CALLS.labels(method, outcome).inc()
    _SECONDS.labels(method).observe(seconds)
