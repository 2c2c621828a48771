"""Calls of the use cases without the wire between, and how many statements each takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from tests.kit.organization import Organization
from tests.kit.transports import Direct


class Counted(Organization):
    """One organization whose calls are counted in statements."""

    def __init__(self, database: Database, channel: str) -> None:
        super().__init__(Direct(database), "org-1", channel)
        self._database = database

    def count(self, request: Any) -> int:
        """Return how many statements a request takes; each of `executemany` counts."""
        with counting(self._database) as statements:
            self.send(request)
        return len(statements)

    def status(self, task: Any) -> int:
        return int(self.task(task).status)

    def start(self, task: Any) -> int:
        return self.count(pb.ApplyTaskActionParam(compute_task_key=task.key, action=pb.TASK_ACTION_EXECUTING))


@contextmanager
def counting(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        statements.extend([statement] * (len(parameters) if many else 1))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
