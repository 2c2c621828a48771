"""Waits until functions are built, and says why one was not."""

import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from orchestrator import protos as pb
from orchestrator.client.errors import BuildError, CallError, StoreError
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps, Work
from orchestrator.client.stores import Stores

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_ENDED = {pb.FUNCTION_STATUS_FAILED: "could not be built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}
_LOG_LINES, _LOG_BYTES = 5, 16 * 1024 * 1024


def wait_ready(stores: Stores, functions: Iterable[str | pb.Function], timeout: float) -> Steps[list[pb.Function]]:
    """Return functions once all are READY; see `Client.wait_ready`."""
    deadline = time.monotonic() + timeout
    found = []
    for given in functions:
        key = given if isinstance(given, str) else given.key
        pause = _FIRST_PAUSE
        while (function := (yield partial(_get, key=key))).status != pb.FUNCTION_STATUS_READY:
            if function.status in _ENDED:
                raise BuildError((yield from _why(stores, function)))
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"function {printable(function.name)!r} ({function.key}) is not ready after {timeout:g} s: "
                    f"is a worker of {function.owner} there? `orchestrator node list` says"
                )
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE)
        found.append(function)
    return found


def _get(client: object, key: str) -> object:
    return client.functions.GetFunction(pb.GetFunctionParam(key=key))  # type: ignore[attr-defined]


def _why(stores: Stores, function: pb.Function) -> Steps[str]:
    said = f"function {printable(function.name)!r} ({function.key}) {_ENDED[function.status]}"
    wanted = pb.GetFailureReportParam(asset_key=function.key)
    try:
        report = yield lambda client: client.failure_reports.GetFailureReport(wanted)
    except CallError as error:
        if error.oe_code != "OE0002":
            raise
        return said
    said += f": {pb.ErrorType.Name(report.error_type).removeprefix('ERROR_TYPE_')} error at {report.owner}"
    if not report.HasField("logs_address"):
        return said
    lines = yield Work(partial(_end_of_log, stores, report))
    return f"{said}; its log ends with\n{lines}" if lines else said


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
