"""Performances: numbers that test tasks measured."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import RowMapping, insert, select

from orchestrator import protos as pb
from orchestrator.compute import results, validation
from orchestrator.compute.assets import compute_plans
from orchestrator.core.errors import ConflictError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import statement


def register(transaction: Transaction, new: pb.NewPerformance) -> pb.Performance:
    """Register a performance of a task that the caller runs."""
    validation.check_performance(new)
    task, function = results.producing_task(transaction, parse_key(new.compute_task_key))
    return add(transaction, task, function.outputs, [new])[0]


_FILLED = statement("SELECT output FROM performances WHERE task_key = :task")


def add(
    transaction: Transaction,
    task: pb.ComputeTask,
    function_outputs: Mapping[str, pb.FunctionOutput],
    new_performances: Sequence[pb.NewPerformance],
) -> list[pb.Performance]:
    """Keep valid performances of a task that the transaction has locked.

    Raises:
        OrchestratorError: the contract's error for an output that does not exist, is of another kind or is full.
    """
    if not new_performances:
        return []
    key = UUID(task.key)
    filled = set(transaction.connection.execute(_FILLED, {"task": key}).scalars())
    added, rows = [], []
    for new in new_performances:
        identifier = new.compute_task_output_identifier
        results.check_output(task, function_outputs, identifier, pb.ASSET_PERFORMANCE)
        if identifier in filled:
            raise ConflictError(f"output {identifier!r} of task {task.key} has its performance already")
        filled.add(identifier)
        performance = pb.Performance(
            compute_task_key=task.key,
            compute_task_output_identifier=identifier,
            performance_value=new.performance_value,
            creation_date=timestamp(transaction.now),
        )
        added.append(performance)
        rows.append(
            {
                "task_key": key,
                "output": identifier,
                "channel": transaction.channel,
                "created_at": transaction.now,
                "value": new.performance_value,
            }
        )
    transaction.connection.execute(insert(tables.performances), rows)
    for performance in added:
        identifier = performance.compute_task_output_identifier
        results.record(transaction, performance, f"{task.key}|{identifier}", identifier)
    return added


def query(transaction: Transaction, wanted: pb.QueryPerformancesParam) -> pb.QueryPerformancesResponse:
    """List performances by date of creation, then task key descending; of one task or output where asked."""
    table = tables.performances.c
    rows = select(table.created_at, table.task_key, table.output, table.value).where(
        table.channel == transaction.channel
    )
    if wanted.filter.compute_task_key:
        rows = rows.where(table.task_key == parse_key(wanted.filter.compute_task_key, "filter.compute_task_key"))
    if wanted.filter.compute_task_output_identifier:
        rows = rows.where(table.output == wanted.filter.compute_task_output_identifier)
    found, token = pages.read(
        transaction.connection,
        rows,
        pages.Page(wanted.page_token, wanted.page_size),
        (table.created_at, table.task_key, table.output),
        (False, True, False),
    )
    return pb.QueryPerformancesResponse(Performances=map(_to_message, found), next_page_token=token)


def of_plan(transaction: Transaction, wanted: pb.QueryPlanPerformancesParam) -> pb.QueryPlanPerformancesResponse:
    """List the performances of a compute plan by date of creation, then task key and output.

    Raises:
        NotFoundError: the channel has no such compute plan.
    """
    plan = parse_key(wanted.compute_plan_key, "compute_plan_key")
    compute_plans.get(transaction, plan)
    table, tasks = tables.performances.c, tables.tasks.c
    rows = (
        select(table.created_at, table.task_key, table.output, table.value)
        .join(tables.tasks, tasks.key == table.task_key)
        .where(table.channel == transaction.channel, tasks.plan_key == plan)
    )
    page = pages.Page(wanted.page_token, wanted.page_size)
    found, token = pages.read(transaction.connection, rows, page, (table.created_at, table.task_key, table.output))
    return pb.QueryPlanPerformancesResponse(performances=map(_to_message, found), next_page_token=token)


def _to_message(row: RowMapping) -> pb.Performance:
    return pb.Performance(
        compute_task_key=str(row["task_key"]),
        compute_task_output_identifier=row["output"],
        performance_value=row["value"],
        creation_date=timestamp(row["created_at"]),
    )
