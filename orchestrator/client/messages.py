"""What a notebook shows of the contract's messages: what people ask for first; as text they stay protobuf's, whole."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orchestrator import protos as pb
from orchestrator.client.shown import table
from orchestrator.core.states import FUNCTION_WORDS, TASK_WORDS

Message = TypeVar("Message")


class Several(list[Message]):
    """Messages of one kind: a list, which a notebook shows as one table."""

    def _repr_html_(self) -> str:
        rows = [_facts(message) for message in self]
        head = list(rows[0]) if rows else ["none"]
        return table(head, (list(row.values()) for row in rows), "left")


def show() -> None:
    """Have notebooks show messages as tables; protobuf's classes are generated, and take it as an attribute."""
    for kind in _FACTS:
        setattr(kind, "_repr_html_", _html)  # noqa: B010


def _html(message: Any) -> str:
    return table([type(message).__name__, ""], _facts(message).items(), "left")


def _facts(message: Any) -> Mapping[str, str]:
    return _FACTS[type(message)](message)


def _function(function: pb.Function) -> Mapping[str, str]:
    return {
        "name": function.name,
        "key": function.key,
        "owner": function.owner,
        "state": FUNCTION_WORDS.get(function.status, ""),
        "inputs": ", ".join(sorted(function.inputs)),
        "outputs": ", ".join(sorted(function.outputs)),
        "for": _who(function.permissions.process),
    }


def _data_manager(dataset: pb.DataManager) -> Mapping[str, str]:
    return {
        "name": dataset.name,
        "key": dataset.key,
        "owner": dataset.owner,
        "for": _who(dataset.permissions.process),
        "logs for": _who(dataset.logs_permission),
    }


def _data_sample(sample: pb.DataSample) -> Mapping[str, str]:
    sets = ", ".join(sample.data_manager_keys)
    return {"key": sample.key, "owner": sample.owner, "data set": sets, "checksum": sample.checksum}


def _plan(plan: pb.ComputePlan) -> Mapping[str, str]:
    return {"name": plan.name, "key": plan.key, "owner": plan.owner, "tag": plan.tag}


def _task(task: pb.ComputeTask) -> Mapping[str, str]:
    return {
        "key": task.key,
        "function": task.function_key,
        "worker": task.worker,
        "rank": str(task.rank),
        "state": TASK_WORDS.get(task.status, ""),
        "plan": task.compute_plan_key,
    }


def _model(model: pb.Model) -> Mapping[str, str]:
    return {
        "key": model.key,
        "task": model.compute_task_key,
        "owner": model.owner,
        "for": _who(model.permissions.process),
        "checksum": model.address.checksum,
    }


def _organization(organization: pb.Organization) -> Mapping[str, str]:
    return {"id": organization.id, "asset store": organization.address}


def _who(permission: pb.Permission) -> str:
    return "everyone" if permission.public else ", ".join(permission.authorized_ids)


_FACTS: Mapping[Any, Callable[[Any], Mapping[str, str]]] = {
    pb.Function: _function,
    pb.DataManager: _data_manager,
    pb.DataSample: _data_sample,
    pb.ComputePlan: _plan,
    pb.ComputeTask: _task,
    pb.Model: _model,
    pb.Organization: _organization,
}
