"""When a task is tried again: a retry policy for each kind of fault, and the metadata keys that override it.

A task or a compute plan overrides the settings by metadata: `orchestrator.retry.<fault>.attempts` (a whole number, 1
or more), `orchestrator.retry.backoff` and `orchestrator.retry.cap` (seconds), with the faults `build`, `execution`,
`internal`, `lost` and `timeout`; `orchestrator.time_limit` (seconds) limits a run of a task, or the whole plan. The
task's word goes before the plan's.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from orchestrator import protos as pb
from orchestrator.core.errors import InvalidAssetError

TIME_LIMIT = "orchestrator.time_limit"
_RETRY = "orchestrator.retry."
_MOST_DOUBLINGS = 30
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_SHORTEST, _LONGEST = 0.001, 10**8


class FaultKind(StrEnum):
    """What ended an attempt."""

    BUILD = "build"
    EXECUTION = "execution"
    INTERNAL = "internal"
    LOST = "lost"
    TIMEOUT = "timeout"


_OF_ERROR = {
    pb.ERROR_TYPE_BUILD: FaultKind.BUILD,
    pb.ERROR_TYPE_EXECUTION: FaultKind.EXECUTION,
    pb.ERROR_TYPE_INTERNAL: FaultKind.INTERNAL,
}


def kind_of(error_type: "pb.ErrorType.ValueType", timed_out: bool = False, lost: bool = False) -> FaultKind:
    """Return the kind of a fault that a worker reported."""
    if lost:
        return FaultKind.LOST
    return FaultKind.TIMEOUT if timed_out else _OF_ERROR[error_type]


@dataclass(frozen=True)
class RetryPolicy:
    """How often a task is tried, and how long it waits between.

    Args:
        attempts: how many attempts may end in this kind of fault before the task is Failed.
        backoff: pause after the first, in seconds; it doubles with each.
        cap: the longest pause, in seconds.
    """

    attempts: int
    backoff: float
    cap: float

    def pause(self, faults: int, chance: float | None = None) -> timedelta | None:
        """Return how long to wait before the next attempt, None when there is to be none.

        Args:
            faults: how many attempts have ended in this kind of fault, this one included.
            chance: between 0 and 1; at random by default, so that tasks that failed together come back one by one.
        """
        if faults >= self.attempts:
            return None
        longest = min(self.cap, self.backoff * 2 ** min(faults - 1, _MOST_DOUBLINGS))
        share = random.random() if chance is None else chance  # noqa: S311 - nobody gains by guessing a pause
        return timedelta(seconds=longest * (0.5 + share / 2))


@dataclass(frozen=True)
class RetryPolicies:
    """The retry policy of each kind of fault, before a task or a plan overrides it."""

    by_kind: Mapping[FaultKind, RetryPolicy]

    def of(self, kind: FaultKind, *metadata: Mapping[str, str]) -> RetryPolicy:
        """Return the retry policy of a kind of fault.

        Args:
            kind: of fault.
            metadata: the task's, then the plan's; valid ones.
        """
        chosen = self.by_kind[kind]
        for given in reversed(metadata):
            chosen = replace(
                chosen,
                attempts=int(given.get(f"{_RETRY}{kind}.attempts", chosen.attempts)),
                backoff=float(given.get(f"{_RETRY}backoff", chosen.backoff)),
                cap=float(given.get(f"{_RETRY}cap", chosen.cap)),
            )
        return chosen


DEFAULT_BACKOFF = 5.0
DEFAULT_CAP = 300.0
DEFAULT_ATTEMPTS = {
    FaultKind.BUILD: 1,
    FaultKind.EXECUTION: 1,
    FaultKind.INTERNAL: 3,
    FaultKind.LOST: 3,
    FaultKind.TIMEOUT: 1,
}


DEFAULT_POLICIES = RetryPolicies(
    {kind: RetryPolicy(count, DEFAULT_BACKOFF, DEFAULT_CAP) for kind, count in DEFAULT_ATTEMPTS.items()}
)


_COUNTS = frozenset(f"{_RETRY}{kind}.attempts" for kind in FaultKind)
_SECONDS = frozenset({f"{_RETRY}backoff", f"{_RETRY}cap", TIME_LIMIT})


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check the metadata keys that mean something to the orchestrator.

    Raises:
        InvalidAssetError: one of `orchestrator.retry.…` is not known, or a value is not what it should be.
    """
    for key, value in metadata.items():
        if key in _COUNTS:
            if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 1000):
                raise InvalidAssetError(f"metadata {key!r}: a whole number from 1 to 1000 is expected")
        elif key in _SECONDS:
            if not _is_seconds(value):
                raise InvalidAssetError(
                    f"metadata {key!r}: a number of seconds from {_SHORTEST} to {_LONGEST} is expected, as in 1.5"
                )
        elif key.startswith(_RETRY):
            known = ", ".join(sorted(_COUNTS | _SECONDS))
            raise InvalidAssetError(f"metadata {key!r} is not known; there are {known}")


def time_limit(metadata: Mapping[str, str]) -> timedelta | None:
    """Return the time limit that valid metadata set, None where they set none."""
    return timedelta(seconds=float(metadata[TIME_LIMIT])) if TIME_LIMIT in metadata else None


def _is_seconds(value: str) -> bool:
    return bool(_DECIMAL.fullmatch(value)) and _SHORTEST <= float(value) <= _LONGEST
