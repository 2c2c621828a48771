"""What the runtime asks of the broker over which the parts of a federated run talk."""

from collections.abc import Sequence
from typing import Protocol

STATUS = "status"
"""The topic that all runs share."""


def pair(adapter: str) -> tuple[str, str]:
    """Return the names of a run's own topics.

    Args:
        adapter: the id of its communication adapter.
    """
    return f"{adapter}_models_to_manager", f"{adapter}_models_to_clients"


class Topics(Protocol):
    """Where topics are made and removed; both raise the errors of `workers.runtime.workflows`."""

    def make(self, adapter: str) -> None:
        """Make the topics of a run; those that are there already stay as they are.

        Args:
            adapter: the id of its communication adapter.

        Raises:
            RefusedError: they may not be made.
            UnreachableError: it is not known whether they are there.
        """
        ...

    def remove(self, adapter: str) -> Sequence[str]:
        """Remove a run's own topics, and return the names of those that were there.

        Args:
            adapter: the id of its communication adapter.

        Raises:
            RefusedError: they may not be removed.
            UnreachableError: it is not known whether they are gone.
        """
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all topics.

        Raises:
            RefusedError: they may not be listed.
            UnreachableError: nothing is known.
        """
        ...
