"""What a template says of trying again, in the words of the engine's metadata."""

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.retries import FaultKind
from orchestrator.executions.graph import fields
from orchestrator.executions.graph.errors import OutsideError

_FAILURES = (FaultKind.EXECUTION, FaultKind.TIMEOUT)
_ERRORS = (FaultKind.INTERNAL, FaultKind.LOST)
_OF_POLICY = {
    "OnFailure": _FAILURES,
    "OnError": _ERRORS,
    "OnTransientError": _ERRORS,
    "Always": (*_FAILURES, *_ERRORS),
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST = 1000
_LONGEST = 10**7


def words(strategy: Any, where: str) -> dict[str, str]:
    """Return the metadata of a `retryStrategy`; an error of ours and a lost worker are tried again without it, too.

    Args:
        strategy: as the template has it, its placeholders filled in.
        where: it stands.

    Raises:
        OutsideError: it says what cannot be done.
    """
    given = fields.known(strategy, where, ("limit", "retryPolicy", "backoff"))
    policy = given.get("retryPolicy", "OnFailure")
    if policy not in _OF_POLICY:
        raise OutsideError(where, f"`retryPolicy` is none of {', '.join(_OF_POLICY)}")
    if "limit" not in given:
        raise OutsideError(where, "`limit` is missing: nothing is tried for ever")
    attempts = str(whole(given["limit"], 0, _MOST - 1, f"{where}.limit") + 1)
    found = {f"orchestrator.retry.{fault}.attempts": attempts for fault in _OF_POLICY[policy]}
    return found | _pauses(given.get("backoff", {}), f"{where}.backoff")


def _pauses(backoff: Any, where: str) -> dict[str, str]:
    given: Mapping[str, Any] = fields.known(backoff, where, ("duration", "factor", "maxDuration"))
    if "duration" not in given:
        return {}
    first = _seconds(given["duration"], f"{where}.duration")
    factor = whole(given.get("factor", 1), 1, 2, f"{where}.factor")
    longest = _seconds(given["maxDuration"], f"{where}.maxDuration") if "maxDuration" in given else None
    cap = first if factor == 1 else longest
    found = {"orchestrator.retry.backoff": f"{first:.3f}"}
    return found if cap is None else found | {"orchestrator.retry.cap": f"{cap:.3f}"}


def _seconds(value: Any, where: str) -> float:
    found = _DURATION.fullmatch(str(value))
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if not 0.001 <= seconds <= _LONGEST:
        raise OutsideError(where, "a duration is expected, as in 10, 10s, 5m or 1h")
    return seconds


def whole(value: Any, least: int, most: int, where: str) -> int:
    """Return a whole number, which may be a text.

    Raises:
        OutsideError: it is none, or not between the least and the most.
    """
    text = str(value)
    number = int(text) if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,9}", text) else -1
    if not least <= number <= most:
        raise OutsideError(where, f"a whole number from {least} to {most} is expected")
    return number
