"""The switch: what the other server would have had its workers do next, they are asked for by this one."""

from dataclasses import dataclass

from orchestrator.compute import adopted as assets
from orchestrator.engine import adopted as work
from orchestrator.engine.transaction import Transaction


@dataclass(frozen=True)
class Due:
    """What was asked for.

    Args:
        tasks: how many are To do.
        functions: how many are to be built.
    """

    tasks: int
    functions: int


def switch(transaction: Transaction) -> Due:
    """Ask for what is due in the channel; what was asked for already is not asked for again."""
    return Due(work.poke(transaction), assets.poke(transaction))
