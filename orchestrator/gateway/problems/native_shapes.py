"""Problems, nodes, commands and events as consoles and scripts read them: lists as lists, times in UTC."""

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.core import kinds
from orchestrator.gateway.problems import plain, results, shapes
from orchestrator.gateway.problems.made import Made
from orchestrator.gateway.problems.watch import Told
from orchestrator.problems import graph

TYPES: Mapping[int, str] = {
    kinds.MODULE_STATUS: "node.status",
    kinds.STAGE_STATUS: "stage.status",
    kinds.STAGE_OUTPUT: "stage.output",
    kinds.ITERATION_STATUS: "task.status",
    kinds.STAGE_SLOW: "stage.slow",
    kinds.MODULE_COMMAND: "command",
}
"""The type of each kind of event that clients are told."""


def node_state(value: int) -> str:
    """Return the name of a state of a node."""
    return pb.ModuleState.Name(value).removeprefix("MODULE_")  # type: ignore[arg-type]


def command_state(value: int) -> str:
    """Return the name of a state of a command."""
    return pb.CommandState.Name(value).removeprefix("COMMAND_")  # type: ignore[arg-type]


def _time(message: Message, name: str) -> str | None:
    if not message.HasField(name):
        return None
    value: Timestamp = getattr(message, name)
    return plain.time(value.ToDatetime(UTC))


def node(kind: pb.ModuleKind) -> dict[str, Any]:
    """Return a kind of nodes."""
    return {
        "kind": graph.KINDS[kind.kind].name,
        "node_id": kind.kind,
        "status": node_state(kind.state),
        "accepting": kind.accepting,
        "reason": kind.reason or None,
        "waiting": kind.waiting,
        "running": kind.running,
        "replicas": [_replica(replica) for replica in kind.replicas],
    }


def _replica(replica: pb.Replica) -> dict[str, Any]:
    return {
        "name": replica.name,
        "status": node_state(replica.state),
        "accepting": replica.accepting,
        "present": replica.present,
        "since": _time(replica, "since"),
        "last_heard": _time(replica, "last_heard"),
        "slow": replica.slow,
        "reason": replica.reason or None,
        "running": [
            {
                "task_id": results.task_id(each.task_id),
                "attempt": each.attempt,
                "since": _time(each, "since"),
                "slow": each.HasField("slow_since"),
            }
            for each in replica.running
        ],
    }


def command(record: pb.CommandRecord) -> dict[str, Any]:
    """Return a command, and what became of it."""
    asked = record.command
    return {
        "command_id": record.command_id,
        "state": command_state(record.state),
        "accepted_at": _time(record, "accepted_at"),
        "ended_at": _time(record, "ended_at"),
        "cmd_node": pb.NodeCommand.Name(asked.cmd_node),
        "cmd_task": pb.TaskCommand.Name(asked.cmd_task),
        "target_node": asked.target_node or None,
        "source_node": asked.source_node or None,
        "task_id": results.task_id(asked.task_id) if asked.HasField("task_id") else None,
        "organization": record.organization,
        "targets": [
            {
                "node": target.node,
                "state": command_state(target.state),
                "delivered_at": _time(target, "delivered_at"),
                "at": _time(target, "at"),
                "error": target.error or None,
            }
            for target in record.targets
        ],
    }


def problem(found: pb.Problem, iterations: Any = None) -> dict[str, Any]:
    """Return a problem.

    Args:
        found: the problem.
        iterations: what is told of them; their count by default.
    """
    return {
        "problem_id": found.problem_id,
        "problem_short_description": found.problem_short_description,
        "created_at": _time(found, "created_at"),
        "status": results.state(found.state),
        "iterations": found.iteration_count if iterations is None else iterations,
    }


def brief(iteration: pb.Iteration) -> dict[str, Any]:
    """Return an iteration without its input and its stages."""
    return {
        "task_id": results.task_id(iteration.task_id),
        "parent": iteration.parent,
        "run": iteration.run,
        "status": results.state(iteration.state),
        "priority": iteration.priority,
        "failed_stage": graph.KINDS[iteration.failed_stage].name if iteration.failed else None,
        "error": _error(iteration.error) if iteration.failed or iteration.error.message else None,
        "warnings": [stage.warning for stage in iteration.stages if stage.warning],
        "created_at": _time(iteration, "created_at"),
        "started_at": _time(iteration, "started_at"),
        "ended_at": _time(iteration, "ended_at"),
        "next_task_id": results.task_id(iteration.next_task_id) if iteration.HasField("next_task_id") else None,
    }


def iteration(found: pb.Iteration, made: Made) -> dict[str, Any]:
    """Return an iteration as a whole.

    Args:
        found: the iteration.
        made: by its stages.
    """
    return brief(found) | {
        "user_input": shapes.listed(shapes.ORCHESTRATOR, found.user_input),
        "stages": [_stage(stage, made) for stage in found.stages],
    }


def _stage(stage: pb.Stage, made: Made) -> dict[str, Any]:
    name, output = graph.KINDS[stage.kind].name, made.outputs.get(stage.kind)
    diagnosis = made.diagnoses.get(stage.kind)
    return {
        "kind": name,
        "status": results.state(stage.state),
        "attempt": stage.attempt,
        "replica": stage.replica or None,
        "queued_at": _time(stage, "queued_at"),
        "started_at": _time(stage, "started_at"),
        "ended_at": _time(stage, "ended_at"),
        "slow": stage.HasField("slow_since"),
        "slow_since": _time(stage, "slow_since"),
        "waiting_for": stage.waiting_for or None,
        "error": _error(stage.error) if stage.error.code or stage.error.message else None,
        "warning": stage.warning or None,
        "output": None if output is None else shapes.listed(name, output, made.raw_size),
        "diagnosis": None if diagnosis is None else shapes.listed(name, diagnosis),
    }


def _error(error: pb.StageError) -> dict[str, Any]:
    return {"code": results.code(error), "message": error.message}


def event(told: Told, output: Message | None) -> dict[str, Any]:
    """Return what an event says.

    Args:
        told: the event.
        output: what an event of an output stands for; None where it is gone.
    """
    said = told.message
    shown: dict[str, Any] = {"at": plain.time(told.at)}
    if "task_id" in said.DESCRIPTOR.fields_by_name and said.HasField("task_id"):
        shown["task_id"] = results.task_id(said.task_id)
    if "run" in said.DESCRIPTOR.fields_by_name:
        shown["run"] = said.run
    return shown | _SAID[told.kind](said, output)


def _node_status(said: pb.ModuleStatusEvent, _: Message | None) -> dict[str, Any]:
    return {
        "kind": graph.KINDS[said.kind].name,
        "replica": said.replica or None,
        "status": node_state(said.state),
        "before": node_state(said.before),
        "reason": said.reason or None,
    }


def _stage_status(said: pb.StageStatusEvent, _: Message | None) -> dict[str, Any]:
    return {
        "kind": graph.KINDS[said.kind].name,
        "status": results.state(said.state),
        "attempt": said.attempt,
        "replica": said.replica or None,
        "error": _error(said.error) if said.HasField("error") else None,
    }


def _stage_output(said: pb.StageOutputEvent, output: Message | None) -> dict[str, Any]:
    kind = graph.KINDS[said.kind].name
    return {
        "kind": kind,
        "output": None if output is None else shapes.joined(kind, output),
        "next_task_id": results.task_id(said.next_task_id) if said.HasField("next_task_id") else None,
    }


def _task_status(said: pb.IterationStatusEvent, _: Message | None) -> dict[str, Any]:
    return {
        "status": results.state(said.state),
        "failed_stage": graph.KINDS[said.failed_stage].name if said.failed else None,
        "error": _error(said.error) if said.failed else None,
        "deleted": said.deleted,
    }


def _stage_slow(said: pb.StageSlowEvent, _: Message | None) -> dict[str, Any]:
    return {
        "kind": graph.KINDS[said.kind].name,
        "attempt": said.attempt,
        "replica": said.replica or None,
        "since": _time(said, "since"),
    }


def _command(said: pb.CommandEvent, _: Message | None) -> dict[str, Any]:
    return {"command_id": said.command_id, "state": command_state(said.state), "target": said.target or None}


_SAID: Mapping[int, Callable[[Any, Message | None], dict[str, Any]]] = {
    kinds.MODULE_STATUS: _node_status,
    kinds.STAGE_STATUS: _stage_status,
    kinds.STAGE_OUTPUT: _stage_output,
    kinds.ITERATION_STATUS: _task_status,
    kinds.STAGE_SLOW: _stage_slow,
    kinds.MODULE_COMMAND: _command,
}
