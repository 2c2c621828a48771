"""What carries the messages of federated executions, as the runtime needs it."""

from collections.abc import Sequence
from typing import Protocol


class Topics(Protocol):
    """The topics of a broker."""

    def make(self, adapter: str) -> None:
        """Make the shared topic and the pair of an execution; those that are there are left as they are.

        Args:
            adapter: K of the execution.

        Raises:
            RefusedError: they were refused.
            UnreachableError: nobody knows whether they were made.
        """

    def remove(self, adapter: str) -> Sequence[str]:
        """Remove the pair of an execution; return the names of those that were there.

        Raises:
            RefusedError: it was refused.
            UnreachableError: nobody knows whether it was done.
        """

    def names(self) -> Sequence[str]:
        """Return the names of all topics.

        Raises:
            UnreachableError: there was no answer.
        """
