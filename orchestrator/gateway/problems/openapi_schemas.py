"""The objects of the OpenAPI document of problems."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator import protos as pb
from orchestrator.problems import graph

_TEXT: Mapping[str, Any] = {"type": "string"}
_MAYBE_TEXT: Mapping[str, Any] = {"type": ["string", "null"]}
_FLAG: Mapping[str, Any] = {"type": "boolean"}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_TIME: Mapping[str, Any] = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Mapping[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_OBJECT: Mapping[str, Any] = {"type": "object"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}


def ref(name: str) -> dict[str, str]:
    """Return what stands for an object of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def components() -> dict[str, Any]:
    """Return the objects."""
    return {**_asked(), **_nodes(), **_tasks()}


def _asked() -> dict[str, Any]:
    samples = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    priority = {"type": "integer", "minimum": -100, "maximum": 100, "default": 0}
    members = {
        **dict.fromkeys(("modality", "problem_short_description", "problem_definition"), _TEXT),
        **dict.fromkeys(("inputs", "outputs"), _TEXTS),
        **dict.fromkeys(("minimum_samples", "maximum_samples"), samples),
        **dict.fromkeys(("optimize_carbon_footprint_manual", "optimize_carbon_footprint_auto"), _FLAG),
        "desired_carbon_footprint": {"type": "number"},
        **dict.fromkeys(("geo_location_continent", "geo_location_region"), _TEXT),
        "extra_data": _object({}, num_outputs={"type": "integer", "minimum": 1, "maximum": 3}),
    }
    begin = {"start": {"type": "boolean", "default": True}, "priority": priority}
    previous = {"type": "integer", "minimum": -1, "maximum": 2**31 - 1, "default": 0}
    task = _object({"problem_id": _COUNT, "iteration_id": _COUNT})
    return {
        "UserInput": _object({}, **members),
        "NewProblem": _object({}, **members, **begin, previous_iteration=previous, type=_TEXT),
        "NewIteration": _object(
            {}, **members, **begin, **{"from": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}}
        ),
        "NewCommand": _object(
            {},
            command_id={"type": "string", "format": "uuid"},
            cmd_node=_command(pb.NodeCommand),
            cmd_task=_command(pb.TaskCommand),
            target_node=_TEXT,
            source_node=_TEXT,
            task_id=task,
        ),
        "ConfigurationRequest": _object(
            {"configuration": _TEXT},
            timeout={"type": "number", "minimum": 0, "maximum": 600, "default": 60},
            replicas={"type": "string", "enum": ["one", "all"], "default": "one"},
        ),
    }


def _nodes() -> dict[str, Any]:
    states = _names(pb.ModuleState, "MODULE_")
    running = _object({"task_id": ref("TaskId"), "attempt": _COUNT, "since": _MAYBE_TIME}, slow=_FLAG)
    replica = _object(
        {
            "name": _TEXT,
            "status": _one_of(states),
            "accepting": _FLAG,
            "present": _FLAG,
            "since": _MAYBE_TIME,
            "last_heard": _MAYBE_TIME,
            "slow": _FLAG,
            "running": _list_of(running),
        },
        reason=_MAYBE_TEXT,
    )
    node = {
        "kind": _one_of([kind.name for kind in graph.KINDS.values()]),
        "node_id": {"type": "integer", "minimum": 0, "maximum": 5},
        "status": _one_of(states),
        "accepting": _FLAG,
        "reason": _MAYBE_TEXT,
        "waiting": _COUNT,
        "running": _COUNT,
        "replicas": _list_of(replica),
    }
    command_states = _one_of(_names(pb.CommandState, "COMMAND_"))
    target = _object(
        {
            "node": _TEXT,
            "state": command_states,
            "delivered_at": _MAYBE_TIME,
            "at": _MAYBE_TIME,
            "error": _MAYBE_TEXT,
        }
    )
    command = {"command_id": _TEXT, "state": command_states, "accepted_at": _TIME, "targets": _list_of(target)}
    given = _object(
        {
            "replica": _TEXT,
            "node_id": _COUNT,
            "transaction_id": _COUNT,
            "success": _FLAG,
            "err_code": _COUNT,
            "configuration": _TEXT,
        }
    )
    return {
        "Error": _object({"error": _TEXT}),
        "Node": _object(node),
        "NodeList": _rows("nodes", "Node"),
        "Command": _object(command),
        "CommandList": _rows("commands", "Command"),
        "ConfigurationAnswers": _object({"transaction_id": _COUNT, "answers": _list_of(given)}, complete=_FLAG),
    }


def _tasks() -> dict[str, Any]:
    states = _names(pb.StageState, "STAGE_")
    task_states = _one_of([state for state in states if state != "SKIPPED"])
    error = {"oneOf": [_object({"code": _TEXT, "message": _TEXT}), {"type": "null"}]}
    brief = {
        "task_id": ref("TaskId"),
        "parent": _COUNT,
        "run": _COUNT,
        "status": task_states,
        "priority": {"type": "integer"},
        "failed_stage": _MAYBE_TEXT,
        "error": error,
        "warnings": _TEXTS,
        "created_at": _TIME,
        "started_at": _MAYBE_TIME,
        "ended_at": _MAYBE_TIME,
    }
    stage = _object(
        {
            "kind": _TEXT,
            "status": _one_of(states),
            "attempt": _COUNT,
            "replica": _MAYBE_TEXT,
            "queued_at": _MAYBE_TIME,
            "started_at": _MAYBE_TIME,
            "ended_at": _MAYBE_TIME,
            "slow": _FLAG,
            "waiting_for": _MAYBE_TEXT,
            "error": error,
            "warning": _MAYBE_TEXT,
            "output": {"type": ["object", "null"]},
            "diagnosis": {"type": ["object", "null"]},
        }
    )
    problem = {
        "problem_id": _COUNT,
        "problem_short_description": _TEXT,
        "created_at": _TIME,
        "status": task_states,
    }
    return {
        "TaskId": _object({"problem_id": _COUNT, "iteration_id": _COUNT}),
        "Stored": _object({"task_id": ref("TaskId"), "status": task_states}),
        "Problem": _object({**problem, "iterations": _COUNT}),
        "ProblemList": _rows("problems", "Problem"),
        "ProblemWithIterations": _object({**problem, "iterations": _list_of(_object(brief))}),
        "Iteration": _object({**brief, "user_input": _OBJECT, "stages": _list_of(stage)}),
    }


def _names(of: Any, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name, _ in of.items()]


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _rows(name: str, of: str) -> dict[str, Any]:
    return _object({name: _list_of(ref(of)), "next": _MAYBE_TEXT})


def _one_of(values: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _command(names: Any) -> dict[str, Any]:
    return {"enum": [*names.keys(), *names.values()]}
