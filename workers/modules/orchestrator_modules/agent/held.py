"""The attempts that a module has, from their claim to what came of them."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestrator import protos as pb
from orchestrator_modules import frames


@dataclass
class Held:
    """An attempt that this module has claimed.

    Args:
        channel: in which.
        attempt: with its token.

    Attributes:
        over: set when the callback has ended, or nobody waits for it any more.
        outcome: what it has come to; None where it had to end.
        refused: whether nothing that it reports counts any more: it was told to stop, or is given back.
        told: whether it was told to stop, which the orchestrator is told when it has.
        limit: how long its callback may run, in seconds; None for as long as it likes.
        began: when its callback began, by the monotonic clock; None before.
        timed_out: whether it ran longer.
        stop_by: when its callback must have ended, by the monotonic clock; None where it need not.
    """

    channel: str
    attempt: pb.Attempt
    over: threading.Event = field(default_factory=threading.Event)
    outcome: frames.Outcome | None = None
    refused: bool = False
    told: bool = False
    limit: float | None = None
    began: float | None = None
    timed_out: bool = False
    stop_by: float | None = None

    @property
    def job(self) -> str:
        """What it is called between the script and its agent."""
        return job_of(self.attempt)

    @property
    def frame(self) -> frames.Held:
        """What the script keeps of it."""
        return frames.Held(self.channel, self.attempt.SerializeToString())


class Attempts:
    """All of them; good in any thread.

    Args:
        held: those that an earlier agent of the same process had.
    """

    def __init__(self, held: Iterable[Held] = ()) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {each.job: each for each in held}
        self._receipts: list[Held] = []

    def add(self, held: Held) -> None:
        """Have one more."""
        with self._lock:
            self._held[held.job] = held

    def remove(self, held: Held) -> None:
        """Have it no more; that it has ended because it was told to, is said once."""
        with self._lock:
            if self._held.pop(held.job, None) and held.told:
                self._receipts.append(held)

    def get(self, job: str) -> Held | None:
        """Return the one that is called so, None where there is none."""
        return self._held.get(job)

    def all(self) -> Sequence[Held]:
        """Return all."""
        with self._lock:
            return list(self._held.values())

    def overdue(self) -> Sequence[Held]:
        """Return those that run longer than they may, and were not stopped."""
        now = time.monotonic()
        return [
            held
            for held in self.all()
            if held.limit is not None
            and held.began is not None
            and now - held.began > held.limit
            and not (held.timed_out or held.refused)
        ]

    def late(self) -> Sequence[Held]:
        """Return those whose callbacks should have ended by now."""
        now = time.monotonic()
        return [held for held in self.all() if held.stop_by is not None and now > held.stop_by]

    def receipts(self) -> Sequence[Held]:
        """Return those that have ended because they were told to, and of which nobody was told."""
        with self._lock:
            return list(self._receipts)

    def receipted(self, receipts: Sequence[Held]) -> None:
        """Note that the orchestrator knows of these."""
        with self._lock:
            self._receipts = [held for held in self._receipts if held not in receipts]


def job_of(attempt: pb.Attempt) -> str:
    """Return what an attempt is called between the script and its agent."""
    return f"{attempt.compute_task_key}/{attempt.number}"
