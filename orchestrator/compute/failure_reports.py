"""Failure reports: why a task or a function failed."""

from uuid import UUID

from sqlalchemy import insert, select

from orchestrator import protos as pb
from orchestrator.compute import assets, functions, results, tasks, validation
from orchestrator.compute.ownership import check_owner
from orchestrator.core.errors import NotFoundError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import endings
from orchestrator.engine.retries import kind_of
from orchestrator.engine.tasks import check_worker
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables


def register(transaction: Transaction, new: pb.NewFailureReport) -> pb.FailureReport:
    """Register why a task that the caller runs, or a function of the caller, failed; it becomes Failed."""
    validation.check_failure_report(new)
    key = parse_key(new.asset_key)
    reports: list[pb.FailureReport] = []
    if new.asset_type == pb.FAILED_ASSET_FUNCTION:
        function = assets.functions.get(transaction, key, lock=True)
        check_owner(transaction, "function", function)
        functions.move(
            transaction,
            function,
            pb.FUNCTION_STATUS_FAILED,
            lambda: reports.append(add(transaction, new, transaction.organization)),
        )
        return reports[0]
    task = tasks.row(transaction, key)
    check_worker(transaction, task)
    if task.status != pb.STATUS_EXECUTING:
        raise results.not_doing(tasks.to_message(task))
    failed = endings.fail_by_worker(
        transaction,
        task,
        f"{pb.ErrorType.Name(new.error_type).removeprefix('ERROR_TYPE_')} error reported by {transaction.organization}",
        fault=kind_of(new.error_type),
        register=lambda ended: reports.append(add(transaction, new, ended.worker)),
    )
    if not failed:
        raise endings.refusal(transaction, key, pb.STATUS_FAILED)
    return reports[0]


def add(transaction: Transaction, new: pb.NewFailureReport, owner: str) -> pb.FailureReport:
    """Keep a valid failure report of an organization."""
    report = pb.FailureReport(
        asset_key=new.asset_key.lower(),
        error_type=new.error_type,
        logs_address=new.logs_address if new.HasField("logs_address") else None,
        creation_date=timestamp(transaction.now),
        owner=owner,
        asset_type=new.asset_type,
    )
    transaction.connection.execute(
        insert(tables.failure_reports).values(
            asset_key=UUID(report.asset_key),
            channel=transaction.channel,
            created_at=transaction.now,
            message=report.SerializeToString(),
        )
    )
    transaction.events.created(report.asset_key, report)
    return report


def get(transaction: Transaction, wanted: pb.GetFailureReportParam) -> pb.FailureReport:
    """Return the failure report of a task or a function."""
    key = parse_key(wanted.asset_key, "asset_key")
    table = tables.failure_reports.c
    query = select(table.message).where(table.asset_key == key, table.channel == transaction.channel)
    found = transaction.connection.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"there is no failure report of {key}")
    return pb.FailureReport.FromString(found)
