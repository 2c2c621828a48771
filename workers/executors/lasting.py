"""What an executor answers whose runs outlive the process that has started them: another can go on with them."""

from typing import Protocol, runtime_checkable

from workers.executors.executor import Executor, Job


class LostRunError(OSError):
    """Nobody can go on with a run: it is gone, or was ended without its lease, or nobody knows how it ended."""


@runtime_checkable
class Lasting(Executor, Protocol):
    """An executor whose runs last: what guards them is neither the process that started them, nor its descendant."""

    def take_over(self, job: Job) -> bool:
        """Go on with a run whose process has gone: from now on this one pauses it and asks for its outcome.

        What was made and never begun is begun; what has ended has its outcome still. An outcome may turn out to be none
        then: `outcome` raises `LostRunError`.

        Args:
            job: what runs; its folder, its limits and its lease count, all else is as it was begun.

        Returns:
            Whether there is anything to go on with. Not where nothing was made, where the run has gone without an
            outcome, where somebody has begun to end it, or where it was ended since its lease was over.

        Raises:
            OSError: that cannot be told now.
        """
        ...
