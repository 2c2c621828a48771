"""Counts and durations of calls, for Prometheus."""

from functools import cache

from prometheus_client import Counter, Histogram

from orchestrator.telemetry import spans

_CALLS = Counter("orchestrator_calls", "Calls by method and the name of gRPC's status code", ["method", "code"])
_SECONDS = Histogram("orchestrator_call_seconds", "Seconds that calls took", ["method"])
_REFUSED = Counter(
    "orchestrator_calls_refused", "Calls and subscriptions refused because too many were in hand", ["organization"]
)
_STARTED = Histogram(
    "orchestrator_task_schedule_to_start_seconds",
    "Seconds from To do to the claim",
    ["organization"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600),
)
# Of each call; the library looks for labels under a lock.
_calls, _seconds = cache(_CALLS.labels), cache(_SECONDS.labels)
_exemplary = False


def show_exemplars() -> None:
    """Note with each duration in which trace it was measured, from now on."""
    global _exemplary
    _exemplary = True


def _exemplar() -> dict[str, str] | None:
    return dict(spans.ids()) or None if _exemplary else None


def started(organization: str, seconds: float) -> None:
    """Count a task that was claimed.

    Args:
        organization: whose worker it runs.
        seconds: that it was To do.
    """
    _STARTED.labels(organization).observe(seconds, _exemplar())


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
    _calls(method, outcome).inc()
    _seconds(method).observe(seconds, _exemplar())
