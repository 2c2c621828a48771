"""The steps that a runtime does at a moment: what its heartbeats name, and what they stop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator import protos as pb


@dataclass
class Held:
    """An attempt that this process has claimed.

    Args:
        channel: in which.
        attempt: which.

    Attributes:
        stopped: set when it must end.
    """

    channel: str
    attempt: pb.Attempt
    stopped: threading.Event = field(default_factory=threading.Event)


class Running:
    """All of them; good in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._receipts: list[Held] = []
        self.leaving = threading.Event()
        """Set when the process ends: what has not begun is given back."""

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until the process ends."""
        self.leaving.wait(seconds)

    @contextmanager
    def holding(self, channel: str, attempt: pb.Attempt) -> Iterator[Held]:
        """Hold an attempt as long as the block runs."""
        held = Held(channel, attempt)
        with self._lock:
            self._held.append(held)
        try:
            yield held
        finally:
            with self._lock:
                self._held.remove(held)
                if held.stopped.is_set():
                    self._receipts.append(held)

    def of(self, channel: str) -> list[Held]:
        """Return those of a channel."""
        with self._lock:
            return [held for held in self._held if held.channel == channel]

    def receipts(self, channel: str) -> list[Held]:
        """Return those of a channel that have ended because they had to, and that nobody was told of."""
        with self._lock:
            return [held for held in self._receipts if held.channel == channel]

    def told(self, receipts: list[Held]) -> None:
        """Note that the orchestrator knows of these."""
        with self._lock:
            self._receipts = [held for held in self._receipts if held not in receipts]
