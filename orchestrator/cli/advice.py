"""What to do next, said where something failed."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from orchestrator import protos as pb
from orchestrator.cli import reading
from orchestrator.cli.acting import acting
from orchestrator.client import BuildError, failures
from orchestrator.client.printing import printable

if TYPE_CHECKING:
    from orchestrator.cli.connection import Access, Target
    from orchestrator.client import Client

_MOST = 3
_SHORT_KEY = 8


def after_failure(
    target: "Target", access: "Access", client: "Client", tasks: Iterable[pb.ComputeTask]
) -> Iterator[str]:
    """Yield for each kind of failure among tasks what failed, why, and which command shows its log; then how to go on.

    Args:
        target: what the command line said, for the commands.
        access: of the connection.
        client: the connection.
        tasks: of a compute plan; of the failed ones the first few are told.

    Raises:
        CallError: there is no answer.
    """
    told: set[tuple[str, str]] = set()
    unbuilt_functions: set[str] = set()
    failed = [task for task in tasks if task.status == pb.STATUS_FAILED]
    for task in failed:
        report = failures.report_of(client, task)
        # A function that was not built fails all its tasks alike.
        built = report is None or report.asset_type != pb.FAILED_ASSET_FUNCTION
        what = (task.function_key, task.worker if built else "")
        if what in told:
            continue
        told.add(what)
        if len(told) > _MOST:
            break
        function = client.function(task.function_key)
        if built:
            kind = f", {reading.error_type(report)} error" if report else ""
            yield printable(f"{function.name} failed at {task.worker}{kind}")
        else:
            unbuilt_functions.add(task.function_key)
            yield from (unbuilt(access, client, function) or "").splitlines()
        yield more(target, report, task.key)
    if failed:
        # A function stays as it is: one that was not built needs another in its place.
        others = "".join(f" --replace {key[:_SHORT_KEY]}=NEW" for key in sorted(unbuilt_functions))
        retry = f"{target.command('plan')} retry {failed[0].compute_plan_key[:_SHORT_KEY]}{others}"
        yield f"go on when that is mended: {retry}"


def more(target: "Target", report: pb.FailureReport | None, task: str) -> str:
    """Return which command says more about a task that failed.

    Args:
        target: what the command line said.
        report: of the failure; None where there is none.
        task: its key.
    """
    if report is not None and report.HasField("logs_address"):
        return f"read its log: {target.command('task')} logs {task[:_SHORT_KEY]}"
    return f"see how it came to it: {target.command('task')} show {task[:_SHORT_KEY]}"


def unbuilt(access: "Access", client: "Client", function: pb.Function) -> str | None:
    """Return why a function is not built, with the end of the log where that may be read; None where nothing failed.

    What only delays the build is told too.

    Raises:
        CallError: there is no answer.
    """
    if function.status in (pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_STATUS_BUILDING):
        return client.build_delay(function) or None
    if function.status == pb.FUNCTION_STATUS_READY:
        return None
    with acting(access, client, function.owner) as theirs:
        try:
            theirs.wait_ready(function, timeout=0)
        except BuildError as error:
            return str(error)
    return None
