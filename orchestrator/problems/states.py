"""The states of stages, iterations and modules as data; the diagrams in `docs/` are made from here."""

from collections.abc import Mapping, Sequence

from orchestrator import protos as pb

STAGE_MOVES: Mapping["pb.StageState.ValueType", Sequence[tuple["pb.StageState.ValueType", str]]] = {
    pb.STAGE_WAITING: [
        (pb.STAGE_RUNNING, "a module takes it"),
        (pb.STAGE_STOPPED, "STOP_TASK"),
        (pb.STAGE_SKIPPED, "a stage before it failed"),
        (pb.STAGE_ERROR, "the iteration takes too long"),
    ],
    pb.STAGE_RUNNING: [
        (pb.STAGE_SUCCEEDED, "its output is stored"),
        (pb.STAGE_ERROR, "its last attempt failed"),
        (pb.STAGE_STOPPED, "STOP_TASK"),
        (pb.STAGE_WAITING, "its module is lost, or it is taken back"),
    ],
    pb.STAGE_SUCCEEDED: [(pb.STAGE_WAITING, "RESET_TASK")],
    pb.STAGE_ERROR: [(pb.STAGE_WAITING, "RESET_TASK")],
    pb.STAGE_STOPPED: [(pb.STAGE_WAITING, "RESET_TASK")],
    pb.STAGE_SKIPPED: [(pb.STAGE_WAITING, "RESET_TASK")],
}
"""From each state of a stage, where it may go, and by what."""

MODULE_MOVES: Mapping["pb.ModuleState.ValueType", Sequence[tuple["pb.ModuleState.ValueType", str]]] = {
    pb.MODULE_INACTIVE: [
        (pb.MODULE_INITIALIZING, "it registers"),
        (pb.MODULE_IDLE, "START_NODE, or it is heard again"),
        (pb.MODULE_RUNNING, "it is heard again"),
        (pb.MODULE_ERROR, "it is heard again"),
        (pb.MODULE_TERMINATING, "it is heard again"),
    ],
    pb.MODULE_INITIALIZING: [
        (pb.MODULE_IDLE, "spin()"),
        (pb.MODULE_RUNNING, "it takes a stage"),
        (pb.MODULE_ERROR, "spin(), after a failure"),
        (pb.MODULE_TERMINATING, "TERMINATE_NODE"),
        (pb.MODULE_INACTIVE, "gone, silent, or STOP_NODE"),
    ],
    pb.MODULE_IDLE: [
        (pb.MODULE_RUNNING, "it takes a stage"),
        (pb.MODULE_INITIALIZING, "RESET_NODE"),
        (pb.MODULE_TERMINATING, "TERMINATE_NODE"),
        (pb.MODULE_INACTIVE, "gone, silent, or STOP_NODE"),
    ],
    pb.MODULE_RUNNING: [
        (pb.MODULE_IDLE, "its last attempt ended"),
        (pb.MODULE_ERROR, "its last attempt failed"),
        (pb.MODULE_INITIALIZING, "RESET_NODE"),
        (pb.MODULE_TERMINATING, "TERMINATE_NODE"),
        (pb.MODULE_INACTIVE, "gone, silent, or STOP_NODE once drained"),
    ],
    pb.MODULE_ERROR: [
        (pb.MODULE_RUNNING, "it takes a stage"),
        (pb.MODULE_IDLE, "START_NODE"),
        (pb.MODULE_INITIALIZING, "RESET_NODE"),
        (pb.MODULE_TERMINATING, "TERMINATE_NODE"),
        (pb.MODULE_INACTIVE, "gone, silent, or STOP_NODE"),
    ],
    pb.MODULE_TERMINATING: [(pb.MODULE_INACTIVE, "it has ended"), (pb.MODULE_INITIALIZING, "it registers anew")],
}
"""From each state of a module, where it may go, and by what."""


def stages() -> str:
    """Return the states of a stage as a Mermaid diagram."""
    return _diagram(
        {
            pb.StageState.Name(source): [(pb.StageState.Name(target), by) for target, by in moves]
            for source, moves in STAGE_MOVES.items()
        },
        "STAGE_",
    )


def modules() -> str:
    """Return the states of a module as a Mermaid diagram."""
    return _diagram(
        {
            pb.ModuleState.Name(source): [(pb.ModuleState.Name(target), by) for target, by in moves]
            for source, moves in MODULE_MOVES.items()
        },
        "MODULE_",
    )


def _diagram(moves: Mapping[str, Sequence[tuple[str, str]]], prefix: str) -> str:
    lines = [
        f"    {source.removeprefix(prefix)} --> {target.removeprefix(prefix)}: {by}"
        for source, targets in moves.items()
        for target, by in targets
    ]
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))
