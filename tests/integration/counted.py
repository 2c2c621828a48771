"""Calls of the use cases without the wire between, and how many statements each takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from tests.kit.messages import models, new_model
from tests.kit.organization import Organization
from tests.kit.transports import Direct


class Counted(Organization):
    """One organization whose calls are counted in statements."""

    def __init__(self, database: Database, channel: str) -> None:
        super().__init__(Direct(database), "org-1", channel)

    def count(self, request: Any) -> int:
        """Return how many statements a request takes; each of `executemany` counts."""
        with counting() as statements:
            self.send(request)
        return len(statements)

    def status(self, task: Any) -> int:
        return int(self.task(task).status)

    def start(self, task: Any) -> int:
        return self.count(pb.ApplyTaskActionParam(compute_task_key=task.key, action=pb.TASK_ACTION_EXECUTING))

    def run(self, task: Any, *, claimed: bool) -> Any:
        """Run a task that makes a model, by an attempt or without one; return the call that makes it Done."""
        if claimed:
            attempt = self.send(pb.ClaimTaskParam(compute_task_key=task.key, claim_id="claim")).attempt
            return pb.CompleteTaskParam(attempt=attempt, models=[new_model(task)])
        self.act(task, pb.TASK_ACTION_EXECUTING)
        self.send(models(new_model(task)))
        return pb.ApplyTaskActionParam(compute_task_key=task.key, action=pb.TASK_ACTION_DONE)


@contextmanager
def committing() -> Iterator[list[str]]:
    """Note a word for each transaction that this process commits meanwhile, but for questions that are one alone."""
    commits: list[str] = []
    execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit

    def noted(cursor: Any, query: Any, *given: Any, **options: Any) -> Any:
        idle = cursor.connection.info.transaction_status is TransactionStatus.IDLE
        if cursor.connection.autocommit and idle and not bytes(query).lstrip().startswith((b"SELECT", b"BEGIN")):
            commits.append("alone")
        return execute(cursor, query, *given, **options)

    def noted_commit(connection: Any) -> None:
        if connection.info.transaction_status is TransactionStatus.INTRANS:
            commits.append("several")
        commit(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", noted)
        patch.setattr(psycopg.Connection, "commit", noted_commit)
        yield commits


@contextmanager
def counting() -> Iterator[list[str]]:
    """Note the statements that this process sends, whoever sends them; each of `executemany` counts."""
    statements: list[str] = []
    execute, executemany = psycopg.Cursor.execute, psycopg.Cursor.executemany

    def noted(cursor: Any, query: Any, *given: Any, **options: Any) -> Any:
        statements.append(str(query))
        return execute(cursor, query, *given, **options)

    def noted_many(cursor: Any, query: Any, rows: Any, **options: Any) -> Any:
        statements.extend([str(query)] * len(rows))
        return executemany(cursor, query, rows, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", noted)
        patch.setattr(psycopg.Cursor, "executemany", noted_many)
        yield statements
