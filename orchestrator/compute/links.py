"""Which compute plan continues which other, and what became of each task of the first."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement


class Continued(NamedTuple):
    """What became of a task in a plan that continues another.

    Args:
        first: the task of the first plan, or one whose results that reused itself.
        place: the task in its place; None where nobody named one.
        reused: its results stand, and nothing of the new plan runs in its place.
    """

    first: UUID
    place: UUID | None
    reused: bool


_LINK = statement("""
    WITH plan AS (
             INSERT INTO continuations (plan_key, origin, kind, created_at) VALUES (:plan, :origin, :kind, :now)
         )
    INSERT INTO continued_tasks (plan_key, origin_task, task_key, reused)
    SELECT :plan, origin_task, task_key, reused
    FROM unnest(CAST(:origin_tasks AS uuid[]), CAST(:tasks AS uuid[]), CAST(:reused AS boolean[]))
         AS continued (origin_task, task_key, reused)
""")


def link(
    transaction: Transaction,
    plan: UUID,
    origin: UUID,
    kind: "pb.ContinuationKind.ValueType",
    tasks: Iterable[Continued],
) -> None:
    """Note that a new plan continues another.

    Args:
        transaction: of the owner of both.
        plan: the new one.
        origin: the first.
        kind: how.
        tasks: of the first.
    """
    continued = list(tasks)
    transaction.connection.execute(
        _LINK,
        {
            "plan": plan,
            "origin": origin,
            "kind": kind,
            "now": transaction.now,
            "origin_tasks": [each.first for each in continued],
            "tasks": [each.place for each in continued],
            "reused": [each.reused for each in continued],
        },
    )


_ORIGIN = statement("SELECT origin, kind FROM continuations WHERE plan_key = :plan")
_TASKS = statement("""
    SELECT origin_task, task_key, reused FROM continued_tasks WHERE plan_key = :plan
    ORDER BY reused DESC, origin_task
""")


def origin_of(transaction: Transaction, plan: UUID) -> Row | None:
    """Return the `origin` of a plan and its `kind`, None where it continues none."""
    return transaction.connection.execute(_ORIGIN, {"plan": plan}).one_or_none()


def tasks_of(transaction: Transaction, plan: UUID) -> list[Continued]:
    """Return what became in a plan of the tasks that it continues, those that are reused first."""
    return [Continued(*row) for row in transaction.connection.execute(_TASKS, {"plan": plan})]


_CONTINUED_BY = statement("""
    SELECT plan_key, kind, created_at FROM continuations WHERE origin = :origin ORDER BY created_at, plan_key LIMIT 1000
""")


def continued_by(transaction: Transaction, origin: UUID) -> list[pb.PlanLink]:
    """Return the plans that continue a plan, the oldest first, a thousand at most."""
    return [
        pb.PlanLink(compute_plan_key=str(row.plan_key), kind=row.kind, creation_date=timestamp(row.created_at))
        for row in transaction.connection.execute(_CONTINUED_BY, {"origin": origin})
    ]
