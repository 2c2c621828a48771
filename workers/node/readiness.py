"""Whether a node can do its work: it reads its queue, and the orchestrator hears it."""

import time
from collections.abc import Sequence

from orchestrator.core.errors import UnavailableError
from orchestrator.health import Signs
from workers.node.heartbeat import Heartbeat


class Readiness:
    """What is known of a node.

    Args:
        beats: its heartbeats, one for each channel.

    Attributes:
        signs: that its main process reads the queue.
    """

    def __init__(self, beats: Sequence[Heartbeat]) -> None:
        self._beats = beats
        self._ends = False
        self.signs = Signs()

    def end(self) -> None:
        """Note that the worker takes nothing any more."""
        self._ends = True

    async def check(self) -> None:
        """Check that it can do its work.

        One channel that hears it is enough: the others stop for themselves only.

        Raises:
            UnavailableError: it cannot; the message says why.
        """
        if self._ends:
            raise UnavailableError("the worker ends, and takes nothing any more")
        self.signs.check()
        if not any(_heard(beat) for beat in self._beats):
            reasons = [f"channel {beat.channel}: {beat.complaint or 'not asked yet'}" for beat in self._beats]
            raise UnavailableError(f"the orchestrator does not answer its heartbeats: {'; '.join(reasons)}")


def _heard(beat: Heartbeat) -> bool:
    return beat.heard_at is not None and time.monotonic() - beat.heard_at < beat.lease
