"""The rows of what was adopted: written as if it had been registered here, when it was registered there."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.adoption import batch
from orchestrator.adoption.batch import Batch
from orchestrator.compute import adopted as assets
from orchestrator.compute import tasks
from orchestrator.core.errors import ConflictError
from orchestrator.engine import adopted as work
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction
from orchestrator.trace import adopted as trace


def write(transaction: Transaction, found: Batch) -> None:
    """Keep what a batch of events tells, and the events.

    Raises:
        ConflictError: a key is taken by an asset of another channel.
    """
    if not found.events:
        return
    for kind, newest in found.newest.items():
        assets.keep(transaction, kind, newest.values())
    _write_plans(transaction, found)
    _write_tasks(transaction, found)
    assets.fill(transaction, found.outputs)
    trace.keep(transaction.connection, transaction.channel, found.events, found.times)


def _write_plans(transaction: Transaction, found: Batch) -> None:
    plans = [_plan(plan) for plan in found.newest.get(pb.ASSET_COMPUTE_PLAN, {}).values()]
    if work.keep_plans(transaction, plans) < len(plans):
        raise ConflictError(f"one of the keys {plans[0].key}, … is taken here by a plan of another channel")


def _plan(plan: Any) -> Plan:
    """Return a compute plan's row; the first of the two dates of its end is what counts."""
    ends = [
        (getattr(plan, name).ToDatetime(UTC), outcome)
        for name, outcome in (("cancelation_date", pb.STATUS_CANCELED), ("failure_date", pb.STATUS_FAILED))
        if plan.HasField(name)
    ]
    ended: tuple[datetime | None, Any] = min(ends) if ends else (None, None)
    return Plan(UUID(plan.key), tasks.KIND, plan.owner, *ended)


def _write_tasks(transaction: Transaction, found: Batch) -> None:
    new = [_task(task) for task in found.created.values()]
    work.keep_tasks(transaction, tasks.KIND, new)
    if not found.moves:
        return
    moves = {UUID(key): moves for key, moves in found.moves.items()}
    before = work.states(transaction, moves)
    if missing := moves.keys() - before.keys():
        raise ConflictError(f"task {min(missing)} has moved, and no event told of its registration in this channel")
    ran = {key: batch.runs(before[key].status, before[key].attempts, some) for key, some in moves.items()}
    moved = {
        key: (some[-1].status, max([before[key].attempts, *(run.number for run in ran[key])]))
        for key, some in moves.items()
    }
    work.move(transaction, moved, ran)
    work.count_parents(transaction, [task.key for task in new], moves)


def _task(task: pb.ComputeTask) -> work.NewTask:
    definition = pb.ComputeTask()
    definition.CopyFrom(task)
    definition.ClearField("status")
    parents = (each.parent_task_output.parent_task_key for each in task.inputs if each.HasField("parent_task_output"))
    return work.NewTask(
        key=UUID(task.key),
        plan=UUID(task.compute_plan_key),
        owner=task.owner,
        created_at=assets.created_at(task),
        definition=definition.SerializeToString(),
        requires=UUID(task.function_key),
        worker=task.worker,
        rank=task.rank,
        parents=[UUID(parent) for parent in dict.fromkeys(parents)],
    )
