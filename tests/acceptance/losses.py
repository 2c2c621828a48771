"""Answers of a federation's server that get lost after their call was done."""

from orchestrator.embedded.federation import Federation
from orchestrator.embedded.processes import Process

SETTINGS = {"LOSE_ANSWERS": 0.05}
"""What the federation's server is told, to answer that share of all calls UNAVAILABLE after it has done them."""


def check(federation: Federation) -> None:
    """Check that answers were lost."""
    server = federation.service("serve")
    assert isinstance(server, Process)
    assert any("answer.lost" in line for line in server.log_lines()), "no answer was lost"
