"""Answers of a federation's server that get lost after their call was done."""

from dataclasses import dataclass

from orchestrator.embedded.federation import Federation
from orchestrator.embedded.processes import Process


@dataclass(frozen=True)
class Losses:
    """Tells a federation to lose answers, and proves that it did.

    Args:
        share: of all answers.
    """

    share: float

    @property
    def settings(self) -> dict[str, object]:
        """What the federation's server must be told."""
        return {"LOSE_ANSWERS": self.share}

    def check(self, federation: Federation) -> None:
        """Check that answers were lost where they should be, and nowhere else."""
        server = federation.service("serve")
        assert isinstance(server, Process)
        lost = sum("answer.lost" in line for line in server.log_lines())
        assert bool(lost) == bool(self.share), f"{lost} answers were lost"
