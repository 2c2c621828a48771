"""The state machines of tasks and functions, as data; the diagram in `docs/` is generated from here."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError

Status = TypeVar("Status", bound=int)
TaskStatus: TypeAlias = "pb.ComputeTaskStatus.ValueType"
FunctionStatus: TypeAlias = "pb.FunctionStatus.ValueType"

TASK_TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    pb.STATUS_WAITING_FOR_BUILDER_SLOT: frozenset({pb.STATUS_BUILDING, pb.STATUS_CANCELED, pb.STATUS_FAILED}),
    pb.STATUS_BUILDING: frozenset(
        {
            pb.STATUS_WAITING_FOR_PARENT_TASKS,
            pb.STATUS_WAITING_FOR_EXECUTOR_SLOT,
            pb.STATUS_CANCELED,
            pb.STATUS_FAILED,
        }
    ),
    pb.STATUS_WAITING_FOR_PARENT_TASKS: frozenset(
        {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_CANCELED, pb.STATUS_FAILED}
    ),
    pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: frozenset({pb.STATUS_EXECUTING, pb.STATUS_CANCELED, pb.STATUS_FAILED}),
    # Back to To do only by a retry: a lost worker, or an error that the retry policy tries again.
    pb.STATUS_EXECUTING: frozenset(
        {pb.STATUS_DONE, pb.STATUS_CANCELED, pb.STATUS_FAILED, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT}
    ),
    pb.STATUS_DONE: frozenset(),
    pb.STATUS_CANCELED: frozenset(),
    pb.STATUS_FAILED: frozenset(),
}

FUNCTION_TRANSITIONS: Mapping[FunctionStatus, frozenset[FunctionStatus]] = {
    pb.FUNCTION_STATUS_WAITING: frozenset({pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_CANCELED}),
    pb.FUNCTION_STATUS_BUILDING: frozenset(
        {pb.FUNCTION_STATUS_READY, pb.FUNCTION_STATUS_CANCELED, pb.FUNCTION_STATUS_FAILED}
    ),
    pb.FUNCTION_STATUS_READY: frozenset(),
    pb.FUNCTION_STATUS_CANCELED: frozenset(),
    pb.FUNCTION_STATUS_FAILED: frozenset(),
}

TASK_WORDS: Mapping[TaskStatus, str] = {
    pb.STATUS_WAITING_FOR_BUILDER_SLOT: "Waiting",
    pb.STATUS_BUILDING: "Building",
    pb.STATUS_WAITING_FOR_PARENT_TASKS: "Waiting",
    pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: "To do",
    pb.STATUS_EXECUTING: "Doing",
    pb.STATUS_DONE: "Done",
    pb.STATUS_CANCELED: "Cancelled",
    pb.STATUS_FAILED: "Failed",
}
"""What people call the states."""

FUNCTION_WORDS: Mapping[FunctionStatus, str] = {
    pb.FUNCTION_STATUS_WAITING: "Waiting",
    pb.FUNCTION_STATUS_BUILDING: "Building",
    pb.FUNCTION_STATUS_READY: "Ready",
    pb.FUNCTION_STATUS_FAILED: "Failed",
    pb.FUNCTION_STATUS_CANCELED: "Cancelled",
}

TERMINAL = frozenset(status for status, leads_to in TASK_TRANSITIONS.items() if not leads_to)


def _in_sql(statuses: Iterable[int]) -> str:
    return ", ".join(str(int(status)) for status in sorted(statuses))


SQL_NAMES: Mapping[str, str] = {
    "WAITING": _in_sql([pb.STATUS_WAITING_FOR_PARENT_TASKS]),
    "TO_DO": _in_sql([pb.STATUS_WAITING_FOR_EXECUTOR_SLOT]),
    "DOING": _in_sql([pb.STATUS_EXECUTING]),
    "DONE": _in_sql([pb.STATUS_DONE]),
    "CANCELLED": _in_sql([pb.STATUS_CANCELED]),
    "FAILED": _in_sql([pb.STATUS_FAILED]),
    "STOPPED": _in_sql([pb.STATUS_CANCELED, pb.STATUS_FAILED]),
    "ENDED": _in_sql(TERMINAL),
    "LIVE": _in_sql(TASK_TRANSITIONS.keys() - TERMINAL),
    "NOT_DUE": _in_sql([pb.STATUS_WAITING_FOR_BUILDER_SLOT, pb.STATUS_BUILDING, pb.STATUS_WAITING_FOR_PARENT_TASKS]),
    "NOT_BEGUN": _in_sql(TASK_TRANSITIONS.keys() - TERMINAL - {pb.STATUS_EXECUTING}),
    "BUILDING": _in_sql([pb.STATUS_BUILDING]),
    "UNBUILT": _in_sql([pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_STATUS_BUILDING]),
}
"""What statements call the states of tasks, and those of functions that are not built yet (`UNBUILT`)."""

ACTION_STATUS: Mapping["pb.ComputeTaskAction.ValueType", TaskStatus] = {
    pb.TASK_ACTION_EXECUTING: pb.STATUS_EXECUTING,
    pb.TASK_ACTION_CANCELED: pb.STATUS_CANCELED,
    pb.TASK_ACTION_FAILED: pb.STATUS_FAILED,
    pb.TASK_ACTION_DONE: pb.STATUS_DONE,
}
"""The state that each action of a caller leads to."""

FUNCTION_ACTION_STATUS: Mapping["pb.FunctionAction.ValueType", FunctionStatus] = {
    pb.FUNCTION_ACTION_BUILDING: pb.FUNCTION_STATUS_BUILDING,
    pb.FUNCTION_ACTION_CANCELED: pb.FUNCTION_STATUS_CANCELED,
    pb.FUNCTION_ACTION_FAILED: pb.FUNCTION_STATUS_FAILED,
    pb.FUNCTION_ACTION_READY: pb.FUNCTION_STATUS_READY,
}


def sources(target: TaskStatus) -> list[TaskStatus]:
    """Return the states that lead to a state: what a compare-and-set to it is guarded by."""
    return [status for status, leads_to in TASK_TRANSITIONS.items() if target in leads_to]


def check_task_transition(key: str, status: TaskStatus, target: TaskStatus) -> None:
    """Check that a caller may move a task from one state to another.

    Raises:
        IncompatibleStatusError: the state machine does not allow it.
    """
    # The way back to To do belongs to retries alone, which do not pass here.
    if target not in TASK_TRANSITIONS[status] or target == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        transition = pb.ComputeTaskStatus.Name(target).removeprefix("STATUS_").title()
        # By the words in brackets existing workers know that a first report arrived whose answer was lost.
        raise IncompatibleStatusError(
            f"task {key} is {TASK_WORDS[status]} and cannot become {TASK_WORDS[target]} "
            f"(transition{transition} inappropriate in current state {pb.ComputeTaskStatus.Name(status)})"
        )


def check_function_transition(key: str, status: FunctionStatus, target: FunctionStatus) -> None:
    """Check that a function may move from one state to another.

    Raises:
        IncompatibleStatusError: the state machine does not allow it.
    """
    if target not in FUNCTION_TRANSITIONS[status]:
        raise IncompatibleStatusError(
            f"function {key} is {pb.FunctionStatus.Name(status)} and cannot become {pb.FunctionStatus.Name(target)}"
        )


def initial_status(function: FunctionStatus, parents: Iterable[TaskStatus]) -> TaskStatus:
    """Return the state in which a task is registered.

    Args:
        function: the state of its function.
        parents: the states of its parents.
    """
    statuses = set(parents)
    if statuses & {pb.STATUS_FAILED, pb.STATUS_CANCELED}:
        return pb.STATUS_CANCELED
    if function == pb.FUNCTION_STATUS_READY:
        return ready_status(pending_parents=len(statuses - {pb.STATUS_DONE}))
    return {
        pb.FUNCTION_STATUS_WAITING: pb.STATUS_WAITING_FOR_BUILDER_SLOT,
        pb.FUNCTION_STATUS_BUILDING: pb.STATUS_BUILDING,
        pb.FUNCTION_STATUS_FAILED: pb.STATUS_FAILED,
        pb.FUNCTION_STATUS_CANCELED: pb.STATUS_CANCELED,
    }[function]


def ready_status(pending_parents: int) -> TaskStatus:
    """Return the state of a task whose function is READY, by the number of its parents that are not Done."""
    return pb.STATUS_WAITING_FOR_PARENT_TASKS if pending_parents else pb.STATUS_WAITING_FOR_EXECUTOR_SLOT


def diagram() -> str:
    """Return both state machines as Mermaid state diagrams, for `docs/states.md`."""
    return "\n\n".join(
        (
            _mermaid(pb.ComputeTaskStatus.Name, "STATUS_", TASK_TRANSITIONS),
            _mermaid(pb.FunctionStatus.Name, "FUNCTION_STATUS_", FUNCTION_TRANSITIONS),
        )
    )


def _mermaid(name: Callable[[Status], str], prefix: str, transitions: Mapping[Status, frozenset[Status]]) -> str:
    names = {status: name(status).removeprefix(prefix) for status in transitions}
    lines = [
        f"    {names[source]} --> {names[target]}"
        for source, targets in transitions.items()
        for target in sorted(targets)
    ]
    lines += [f"    {names[status]} --> [*]" for status, targets in transitions.items() if not targets]
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))
