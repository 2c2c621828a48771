"""What places workflows, as the runtime needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LABEL = "orchestrator-execution"
"""The label of a workflow of ours, `<installation>-<execution>`."""


@dataclass(frozen=True)
class Workflow:
    """A workflow that is there.

    Args:
        name: what it is called there.
        label: the value of `LABEL`.
        phase: Pending, Running, Succeeded, Failed or Error; empty before it is looked at.
        message: why, where it says it.
    """

    name: str
    label: str
    phase: str
    message: str = ""


class Workflows(Protocol):
    """Where workflows are placed."""

    def create(self, manifest: Mapping[str, Any]) -> str:
        """Create a workflow; return its name.

        Raises:
            RefusedError: it was refused.
            ExistsError: there is one of its name.
            UnreachableError: nobody knows whether it was created.
        """

    def find(self, label: str | None = None) -> Sequence[Workflow]:
        """Return the workflows whose label `LABEL` has a value; those that have any, where none is given.

        Raises:
            RefusedError: it was refused.
            UnreachableError: there was no answer.
        """

    def end(self, name: str) -> None:
        """Delete a workflow; one that is gone is passed over.

        Raises:
            RefusedError: it was refused.
            UnreachableError: nobody knows whether it was done.
        """
