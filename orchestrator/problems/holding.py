"""An iteration that is to be changed from outside: the latches of its plans first, then its row."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import protos as pb
from orchestrator.engine import plans
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import ids, iterations, stages
from orchestrator.problems.errors import StateError
from orchestrator.store.connection import Row

_TRIES = 5


@dataclass(frozen=True)
class Held:
    """An iteration whose stages neither begin nor end until the transaction ends.

    Args:
        row: the iteration's.
        stages: the rows of its stages, by kind.
    """

    row: Row
    stages: Sequence[Row]

    @property
    def task_id(self) -> pb.TaskId:
        """Its id."""
        return iterations.task_id_of(self.row)

    @property
    def open(self) -> list[Row]:
        """Those of its stages that have not ended."""
        return [row for row in self.stages if row.state not in stages.ENDED]


def hold(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> Held:
    """Hold an iteration.

    Raises:
        NotFoundError: there is none.
        StateError: others begin it anew again and again.
    """
    iterations.row_of(transaction, deployment, task_id)
    held: set[object] = set()
    for _ in range(_TRIES):
        wanted = {row.plan_key for row in stages.of_iteration(transaction, deployment, task_id)}
        plans.hold(transaction, wanted - held)
        held |= wanted
        row = iterations.lock(transaction, deployment, task_id)
        found = stages.of_iteration(transaction, deployment, task_id)
        if {each.plan_key for each in found} <= held:
            return Held(row, found)
    raise StateError(f"task {ids.shown(task_id)} is begun anew by others all the time; try again")
