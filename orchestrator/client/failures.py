"""Says why a task failed, or why a function was not built, with the end of its log where that may be read."""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator import protos as pb
from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.printing import printable
from orchestrator.client.services import Services
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores

_UNKNOWN = "OE0002"
_LOG_LINES, _LOG_BYTES = 5, 16 * 1024 * 1024


@dataclass(frozen=True)
class Failure:
    """Why an asset failed.

    Args:
        told: for people, with the end of the log where that may be read.
        has_log: whether a log was kept.
    """

    told: str
    has_log: bool


def of(stores: Stores, key: str) -> Steps[Failure | None]:
    """Return why an asset failed; None where nobody reported it.

    Args:
        stores: how asset stores are reached.
        key: of the task or the function.

    Raises:
        CallError: the orchestrator does not answer.
    """
    wanted = pb.GetFailureReportParam(asset_key=key)
    try:
        report = yield lambda client: client.failure_reports.GetFailureReport(wanted)
    except CallError as error:
        if error.oe_code != _UNKNOWN:
            raise
        return None
    said = f"{pb.ErrorType.Name(report.error_type).removeprefix('ERROR_TYPE_')} error at {report.owner}"
    if not report.HasField("logs_address"):
        return Failure(said, False)
    lines = yield Work(partial(_end_of_log, stores, report))
    return Failure(f"{said}; its log ends with\n{lines}" if lines else said, True)


def report_of(client: Services, task: pb.ComputeTask) -> pb.FailureReport | None:
    """Return why a task failed, or why its function did; None where it did not, or nobody has reported it yet.

    Raises:
        CallError: the orchestrator does not answer.
    """
    if task.status != pb.STATUS_FAILED:
        return None
    for key in (task.key, task.function_key):
        try:
            return client.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=key))
        except CallError as error:
            if error.oe_code != _UNKNOWN:
                raise
    return None


def _end_of_log(stores: Stores, report: pb.FailureReport) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log"
        try:
            stores.get(report.logs_address, "the log", file, _LOG_BYTES)
        except StoreError:
            # It is for others to read, or the store is away.
            return ""
        lines = file.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join(f"  {printable(line)}" for line in lines)
