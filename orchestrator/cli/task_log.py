"""Prints logs: what a task says now, what it said, or why it failed; what was noted when a function was built."""

import io
import ssl
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from orchestrator import protos as pb
from orchestrator.cli import download, reading
from orchestrator.cli.connection import Access, tls
from orchestrator.cli.errors import Fault, UsageFault
from orchestrator.cli.said import Said
from orchestrator.client import failures, logs, transfers
from orchestrator.core.states import TERMINAL

if TYPE_CHECKING:
    from orchestrator.client import Client

_PERIOD_SECONDS = 0.5


class TaskLog:
    """The log of one task, on its way to standard output.

    Args:
        access: how the orchestrator and the asset stores are reached.
        client: a connection.
        task: whose log it is.
        raw: whether each byte is printed as the function wrote it.
    """

    def __init__(self, access: Access, client: "Client", task: pb.ComputeTask, raw: bool) -> None:
        self._access = access
        self._client = client
        self._task = task
        self._raw = raw
        self._printed = 0

    def show(self, attempt: int | None, follow: bool) -> None:
        """Print it.

        Args:
            attempt: which; None for the last.
            follow: whether to go on until the task has ended.

        Raises:
            Fault: there is none, or none for others.
            StoreError: it may not be read.
            CallError: the orchestrator does not answer.
        """
        report = failures.report_of(self._client, self._task)
        if attempt is None and self._task.status == pb.STATUS_FAILED:
            self._failure(report)
        elif attempt is None and not follow and self._task.status not in {pb.STATUS_EXECUTING, *TERMINAL}:
            raise Fault(logs.silent(self._task, attempt))
        else:
            self._said(attempt, follow)

    def _said(self, attempt: int | None, follow: bool) -> None:
        with closing(self._connect()) as connection:
            store = self._store()
            said = logs.Reader.of_task(connection.client, store, self._task.key, attempt)
            printed = Said(self._raw)
            while True:
                # Before it is read: what was said until its end is there when it has ended.
                self._task = self._client.tasks.GetTask(pb.GetTaskParam(key=self._task.key))
                ended = self._task.status in TERMINAL
                try:
                    printed.add(said.more())
                except logs.SilentError:
                    if not follow:
                        raise Fault(logs.silent(self._task, attempt)) from None
                if ended or not follow:
                    break
                time.sleep(_PERIOD_SECONDS)
            self._printed = said.size
        printed.end()
        if follow and attempt is None and self._task.status == pb.STATUS_FAILED:
            self._failure(failures.report_of(self._client, self._task))

    def _failure(self, report: pb.FailureReport | None) -> None:
        if report is None or not report.HasField("logs_address"):
            raise Fault(_no_log(self._task, report))
        trusted, proxy = context(self._access), self._access.proxy_from_environment
        with download.fetch(report.logs_address, trusted, f"the log of task {self._task.key}", proxy) as file:
            file.seek(self._printed)
            download.write(file, sys.stdout.buffer, self._raw)

    def _store(self) -> str:
        known = self._client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
        return logs.store_of(self._task.worker, known.organizations)

    def _connect(self) -> transfers.Connection:
        return transfers.connect(context(self._access), self._access.proxy_from_environment)


def print_build_log(access: Access, client: "Client", function: pb.Function, raw: bool) -> None:
    """Print what was noted when a function was built: why it failed to those who may use it, all else to its owner.

    Raises:
        Fault: there is none.
        StoreError: it may not be read.
        CallError: the orchestrator does not answer.
    """
    what = f"the log of the build of function {function.key}"
    trusted, proxy = context(access), access.proxy_from_environment
    if function.status == pb.FUNCTION_STATUS_FAILED:
        report = client.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=function.key))
        if report.HasField("logs_address"):
            with download.fetch(report.logs_address, trusted, what, proxy) as file:
                download.write(file, sys.stdout.buffer, raw)
            return
    known = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    with closing(transfers.connect(trusted, proxy)) as connection:
        store = logs.store_of(function.owner, known.organizations)
        said = logs.Reader(connection.client, store, f"logs/{function.key}-1", what)
        try:
            content = b"".join(said.more())
        except logs.SilentError as error:
            raise Fault(
                f"function {function.key} has no log of its build that may be read here: it is not built yet, or not "
                f"kept any more; that of a function that is READY is its owner's, {function.owner}"
            ) from error
    download.write(io.BytesIO(content), sys.stdout.buffer, raw)


def context(access: Access) -> ssl.SSLContext:
    """Return how asset stores are reached.

    Raises:
        UsageFault: the files for it were not named.
    """
    if access.certificates is None or access.peers is None:
        raise UsageFault("logs are read over mutual TLS: give --peer-ca-cert, --ca-cert, --cert and --key")
    return tls(access.certificates, access.peers)


def _no_log(task: pb.ComputeTask, report: pb.FailureReport | None) -> str:
    if report is not None:
        return (
            f"task {task.key} has no log for others to read: it failed by an {reading.error_type(report)} error; "
            f"`orchestrator task show {task.key}` tells the reason where its worker gave one, and the administrator of "
            f"{report.owner} finds more in the worker's own log"
        )
    return f"task {task.key} has no log: it was made Failed without a report of why"
