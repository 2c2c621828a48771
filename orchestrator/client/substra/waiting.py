"""The part of the client that waits: for functions, tasks and compute plans."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from substra import exceptions, models

from orchestrator import protos as pb
from orchestrator.client.connection import Client as Connection
from orchestrator.client.substra.faults import translated

_OPEN_TASKS = frozenset(
    {
        models.ComputeTaskStatus.waiting_for_builder_slot,
        models.ComputeTaskStatus.building,
        models.ComputeTaskStatus.waiting_for_parent_tasks,
        models.ComputeTaskStatus.waiting_for_executor_slot,
        models.ComputeTaskStatus.executing,
    }
)
_FAILED = frozenset({models.ComputePlanStatus.failed, models.ComputeTaskStatus.failed, models.FunctionStatus.failed})
_CANCELED = frozenset(
    {models.ComputePlanStatus.canceled, models.ComputeTaskStatus.canceled, models.FunctionStatus.canceled}
)


@translated
class Waiting:
    """Waits for an end."""

    connection: Connection
    if TYPE_CHECKING:
        get_compute_plan: Callable[[str], Any]
        get_task: Callable[[str], Any]
        get_function: Callable[[str], Any]

    def wait_compute_plan(
        self, key: str, *, timeout: float | None = None, polling_period: float = 2.0, raise_on_failure: bool = True
    ) -> Any:
        """Return a compute plan once it is done, failed or cancelled.

        Args:
            key: of the plan.
            timeout: seconds; None waits without end.
            polling_period: seconds between two questions.
            raise_on_failure: whether a plan that was not done is an error.

        Raises:
            FutureFailureError: it failed, or was cancelled.
            FutureTimeoutError: it has not ended in time.
        """

        def ended() -> Any:
            if self.connection.plans.IsPlanRunning(pb.IsPlanRunningParam(key=key)).is_running:
                return None
            plan = self.get_compute_plan(key)
            open_still = (models.ComputePlanStatus.created, models.ComputePlanStatus.doing)
            return None if plan.status in open_still else plan

        return _wait(f"compute plan {key}", ended, timeout, polling_period, raise_on_failure)

    def wait_task(
        self, key: str, *, timeout: float | None = None, polling_period: float = 2.0, raise_on_failure: bool = True
    ) -> Any:
        """Return a task once it is done, failed or cancelled; the arguments are those of `wait_compute_plan`.

        Raises:
            FutureFailureError: it failed, or was cancelled.
            FutureTimeoutError: it has not ended in time.
        """

        def ended() -> Any:
            task = self.get_task(key)
            return None if task.status in _OPEN_TASKS else task

        return _wait(f"task {key}", ended, timeout, polling_period, raise_on_failure)

    def wait_function(
        self, key: str, *, timeout: float | None = None, polling_period: float = 1.0, raise_on_failure: bool = True
    ) -> Any:
        """Return a function once it is built, or cannot be; the arguments are those of `wait_compute_plan`.

        Raises:
            FutureFailureError: it cannot be built, or was cancelled.
            FutureTimeoutError: it is not built in time.
        """

        def ended() -> Any:
            function = self.get_function(key)
            return (
                None if function.status in (models.FunctionStatus.waiting, models.FunctionStatus.building) else function
            )

        return _wait(f"function {key}", ended, timeout, polling_period, raise_on_failure)


def _wait(what: str, ended: Callable[[], Any], timeout: float | None, period: float, raises: bool) -> Any:
    deadline = None if timeout is None else time.monotonic() + timeout
    while (found := ended()) is None:
        if deadline is not None and time.monotonic() > deadline:
            raise exceptions.FutureTimeoutError(f"{what} has not ended after {timeout:g} s")
        time.sleep(period)
    if raises and found.status in _FAILED:
        raise exceptions.FutureFailureError(f"{what} failed{_hint(found)}")
    if raises and found.status in _CANCELED:
        raise exceptions.FutureFailureError(f"{what} was cancelled")
    return found


def _hint(found: Any) -> str:
    task = getattr(found, "failed_task_key", None) or (found.key if isinstance(found, models.Task) else None)
    return f": `client.get_logs({task!r})` says why" if task else ""
