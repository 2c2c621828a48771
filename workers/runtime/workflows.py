"""What the runtime asks of whatever runs workflows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

LABEL = "orchestrator-execution"
"""The label of a workflow that says whose it is: `<installation>-<id of the execution>`."""


class RefusedError(Exception):
    """The other side has understood, and will not do it: asking again does not help."""


class UnreachableError(Exception):
    """The other side does not answer, or not as it should: it may later."""


@dataclass(frozen=True)
class Workflow:
    """A workflow that exists.

    Args:
        name: that was given to it.
        label: the value of `LABEL`; empty where it has none.
        phase: as in `Running` or `Failed`; empty before it has begun.
        finished_at: when it ended, None while it has not.
    """

    name: str
    label: str
    phase: str
    finished_at: datetime | None


class Workflows(Protocol):
    """Where workflows run."""

    def create(self, manifest: Mapping[str, Any]) -> str:
        """Start a workflow, and return its name.

        Raises:
            RefusedError: this manifest is not run.
            UnreachableError: it is not known whether it runs: look for its label before another is created.
        """
        ...

    def find(self, label: str) -> Sequence[Workflow]:
        """Return the workflows with a label.

        Args:
            label: `name=value`, or a name alone for all that have the label.

        Raises:
            RefusedError: they may not be listed.
            UnreachableError: nothing is known.
        """
        ...

    def end(self, name: str) -> None:
        """End a workflow and remove it; one that is not there is as good.

        Raises:
            RefusedError: it may not be ended.
            UnreachableError: it is not known whether it has ended.
        """
        ...
