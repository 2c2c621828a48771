"""A compute plan that is hurt while it runs, and what must be true of it in the end."""

import threading
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.client import CallError, Plan, Watch
from tests.kit import runs
from tests.kit.runs import Broken, Kind

if TYPE_CHECKING:
    from tests.kit.stage import Stage

STOP_SECONDS = 10.0
"""How long after a cancellation a run may still begin: its claim was on its way."""

_BEGIN_SECONDS = 60.0
_STATES = text("SELECT key, status FROM task_states WHERE plan_key = :plan")
_STUCK = text("""
    SELECT key, worker, status, attempts, due_at, poked_at, pokes, pending_parents
    FROM tasks JOIN task_states USING (key)
    WHERE plan_key = :plan AND (status IN (2, 3, 7, 8) OR status = 1 AND pending_parents = 0)
""")
_ATTEMPTS = text("""
    SELECT attempts.* FROM attempts JOIN tasks ON key = task_key
    WHERE plan_key = :plan ORDER BY task_key, number
""")


class Followed:
    """A plan that was submitted, and is watched by a thread that its faults may cut off.

    Args:
        stage: where it runs.
        plan: the plan.
    """

    def __init__(self, stage: "Stage", plan: Plan[None]) -> None:
        self._stage = stage
        self.plan = plan
        self._watch = Watch(plan.key, [task.key for task in plan.tasks])
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        deadline = time.monotonic() + _BEGIN_SECONDS
        while True:
            try:
                for _ in self._stage.client().follow(self._watch):
                    pass
                return
            except CallError as error:
                # A watcher is patient once it has begun.
                if not error.lost or time.monotonic() > deadline:
                    self._error = error
                    return
                time.sleep(0.1)

    @property
    def over(self) -> bool:
        """Whether the watcher has seen the plan's end, or failed."""
        return not self._thread.is_alive()

    def wait(self, seconds: float = 120.0) -> None:
        """Wait for the plan's end.

        Raises:
            AssertionError: it does not end.
        """
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        assert self.over, f"after {seconds:g} s the plan has not ended: {self.states()}, {self.stuck()}"

    def begun(self, tasks: int = 1) -> bool:
        """Say whether so many tasks have ended."""
        return sum(task.status == pb.STATUS_DONE for task in self._watch.progress.tasks.values()) >= tasks

    def states(self) -> Counter[str]:
        """Return how many tasks are in which state, in the database."""
        with self._stage.database() as database, database.engine.connect() as connection:
            rows = connection.execute(_STATES, {"plan": self.plan.key})
            return Counter(pb.ComputeTaskStatus.Name(row.status).removeprefix("STATUS_") for row in rows)

    def stuck(self) -> list[str]:
        """Return the tasks that have not ended and could."""
        with self._stage.database() as database, database.engine.connect() as connection:
            return [str(row._asdict()) for row in connection.execute(_STUCK, {"plan": self.plan.key})]

    def running(self) -> list[str]:
        """Return the tasks whose function runs."""
        return runs.running(self._stage.said, [task.key for task in self.plan.tasks])

    def receipts(self) -> list[pb.StopReceipt]:
        """Return how far the plan's cancellation has come."""
        asked = pb.GetCancellationParam(compute_plan_key=self.plan.key)
        return list(self._stage.client().worker.GetCancellation(asked).receipts)

    def faults(self, *, cancelled: float | None = None) -> list[Broken]:
        """Return what must not be, once the plan has ended.

        Args:
            cancelled: when it was cancelled; None if all its tasks must be Done.
        """
        keys = {task.key for task in self.plan.tasks}
        with self._stage.database() as database, database.engine.connect() as connection:
            states = {str(row.key): row.status for row in connection.execute(_STATES, {"plan": self.plan.key})}
            attempts = connection.execute(_ATTEMPTS, {"plan": self.plan.key}).all()
        right = {pb.STATUS_DONE} if cancelled is None else {pb.STATUS_DONE, pb.STATUS_CANCELED}
        found = [
            Broken(Kind.LOSS, f"task {key} is {states.get(key)}")
            for key in sorted(keys)
            if states.get(key) not in right
        ]
        completed = Counter(str(row.task_key) for row in attempts if row.outcome == pb.STATUS_DONE)
        done = {str(row.task_key): row.number for row in attempts if row.outcome == pb.STATUS_DONE}
        wanted = Counter(key for key, status in states.items() if status == pb.STATUS_DONE)
        found += [Broken(Kind.DOUBLE, f"task {key} was completed again") for key in completed - wanted]
        found += [Broken(Kind.LOSS, f"task {key} was never completed") for key in wanted - completed]
        for before, after in pairwise(attempts):
            same = before.task_key == after.task_key
            if same and (before.ended_at is None or after.claimed_at < before.ended_at):
                words = f"attempts {before.number} and {after.number} of task {before.task_key} overlap"
                found.append(Broken(Kind.DOUBLE, words))
        said = [word for word in runs.read(self._stage.said) if word.task in keys]
        ends = dict.fromkeys(keys, cancelled + STOP_SECONDS) if cancelled is not None else {}
        return found + runs.faults(said, done, ends)

    def attempts(self) -> int:
        """Return how many attempts there were."""
        with self._stage.database() as database, database.engine.connect() as connection:
            return len(connection.execute(_ATTEMPTS, {"plan": self.plan.key}).all())
