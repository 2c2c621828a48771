"""Calls of the use cases without the wire between, and how many statements each takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from orchestrator.rpc.handlers import Unary
from orchestrator.rpc.methods import METHODS as BEHIND
from tests.conformance.network import METHODS


class Counted:
    """One organization that calls the use cases without the wire between, and counts their statements."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._use_cases = {
            each.request.DESCRIPTOR.full_name: each.use_case
            for method in METHODS
            if isinstance(each := BEHIND[method.containing_service.name][method.name], Unary)
        }

    def send(self, request: Any, use_case: Callable[..., Any] | None = None) -> Any:
        chosen = use_case or self._use_cases[request.DESCRIPTOR.full_name]
        return self._database.run("org-1", self._channel, lambda transaction: chosen(transaction, request))

    def count(self, request: Any, use_case: Callable[..., Any] | None = None) -> int:
        """Return how many statements a request takes; each of `executemany` counts."""
        with counting(self._database) as statements:
            self.send(request, use_case)
        return len(statements)

    def status(self, task: Any) -> int:
        return int(self.send(pb.GetTaskParam(key=task.key)).status)

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
