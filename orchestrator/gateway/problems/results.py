"""Results as front ends that exist read them: an object for each stage, also for those that end without success."""

from typing import Any

from orchestrator import protos as pb
from orchestrator.gateway.problems import shapes
from orchestrator.gateway.problems.made import Made
from orchestrator.problems import graph

ENDED = frozenset({pb.STAGE_ERROR, pb.STAGE_SUCCEEDED, pb.STAGE_STOPPED, pb.STAGE_SKIPPED})
"""The states in which stages and iterations end."""


def task_id(task: pb.TaskId) -> dict[str, int]:
    """Return a task's id."""
    return {"problem_id": task.problem_id, "iteration_id": task.iteration_id}


def state(value: int) -> str:
    """Return the name of a state of a stage or an iteration."""
    return pb.StageState.Name(value).removeprefix("STAGE_")  # type: ignore[arg-type]


def code(error: pb.StageError) -> str:
    """Return the name of an error's code."""
    return pb.StageErrorCode.Name(error.code).removeprefix("STAGE_ERROR_")


def has_ended(iteration: pb.Iteration, node: int) -> bool:
    """Say whether a stage has ended, or all of them.

    Whoever waits for what was stopped is told at once, not when its module has stopped.

    Args:
        iteration: with its stages.
        node: the number of the stage's kind, or `graph.ALL`.
    """
    if iteration.state == pb.STAGE_STOPPED:
        return True
    stages = iteration.stages if node == graph.ALL else [iteration.stages[node]]
    return all(stage.state in ENDED for stage in stages)


def result(iteration: pb.Iteration, node: int, made: Made) -> dict[str, Any]:
    """Return the answer for a stage that has ended, or for all.

    Args:
        iteration: with its stages.
        node: the number of the stage's kind, or `graph.ALL`.
        made: by the stages that succeeded.
    """
    if node != graph.ALL:
        return {graph.KINDS[node].name: _object(iteration, iteration.stages[node], made)}
    found: dict[str, Any] = {
        graph.KINDS[stage.kind].name: _object(iteration, stage, made) for stage in iteration.stages
    }
    return found | {"task_id": task_id(iteration.task_id)}


def user_input(iteration: pb.Iteration) -> dict[str, Any]:
    """Return the answer for the user input."""
    shown = shapes.joined(shapes.ORCHESTRATOR, iteration.user_input) | {
        "task_id": task_id(iteration.task_id),
        "status": state(iteration.state),
        "error": iteration.error.message or None,
        "warning": None,
    }
    return {shapes.ORCHESTRATOR: shown}


def _object(iteration: pb.Iteration, stage: pb.Stage, made: Made) -> dict[str, Any]:
    kind = graph.KINDS[stage.kind]
    output = made.outputs.get(stage.kind)
    shown: dict[str, Any]
    if stage.state == pb.STAGE_SUCCEEDED and output is not None:
        shown = shapes.joined(kind.name, output, made.raw_size) | {"status": "SUCCEEDED", "error": None}
        if stage.kind == graph.LAST and iteration.HasField("next_task_id"):
            shown["next_task_id"] = task_id(iteration.next_task_id)
    else:
        # What was stopped may have a module that has not noticed yet.
        ended = stage.state if stage.state in ENDED else pb.STAGE_STOPPED
        error = why(iteration, stage)
        shown = shapes.failed(kind.name, kind.output(), error) | {
            "status": state(ended),
            "error": error,
            "failed_stage": graph.KINDS[iteration.failed_stage].name if iteration.failed else None,
        }
    return shown | {"task_id": task_id(iteration.task_id), "warning": stage.warning or None}


def why(iteration: pb.Iteration, stage: pb.Stage) -> str:
    """Return why a stage ended without success, in one text."""
    if stage.error.code or stage.error.message:
        return f"{code(stage.error)}: {stage.error.message}"
    if iteration.failed:
        failed = graph.KINDS[iteration.failed_stage].name
        return f"{failed} did not succeed: {code(iteration.error)}: {iteration.error.message}"
    return "it was stopped by a command"
