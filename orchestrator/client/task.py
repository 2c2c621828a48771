"""The tasks of a compute plan that is being built, and how they fit the functions that they run."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.client.errors import PlanError

PUBLIC = pb.NewPermissions(public=True)
"""Every organization of the channel."""

Permissions: TypeAlias = pb.NewPermissions | str | Iterable[str]
"""Who may use an output besides its owner: PUBLIC, an organization, or several."""


@dataclass(frozen=True)
class Output:
    """What a task will produce, to be an input of later tasks.

    Args:
        task: the task's key.
        identifier: what its function calls it.
        declared: its kind, and whether there may be several.
    """

    task: str
    identifier: str
    declared: pb.FunctionOutput


class Task:
    """One run of a function, in a compute plan that is being built.

    Args:
        message: what will be registered.
        function: what it runs.

    Attributes:
        key: the key that the task will have.
        outputs: identifier -> output; pass them, or the task itself where it has one model, to later tasks.
        reused: whether a task of another plan stands for it, whose key it then has: a rerun need not run it.
    """

    def __init__(self, message: pb.NewComputeTask, function: pb.Function) -> None:
        self.message = message
        self.reused = False
        self._function = function
        self._name(message.key)

    def reuse(self, origin: str) -> None:
        """Take the place of a task of another plan, given by its key: its results are this one's."""
        self.reused = True
        self._name(origin)

    def _name(self, key: str) -> None:
        self.key = key
        self.outputs: Mapping[str, Output] = {
            identifier: Output(key, identifier, declared) for identifier, declared in self._function.outputs.items()
        }

    @property
    def model(self) -> Output:
        """The one model that the task produces.

        Raises:
            PlanError: it produces none, or several.
        """
        models = [output for output in self.outputs.values() if output.declared.kind == pb.ASSET_MODEL]
        if len(models) != 1:
            raise PlanError(
                f"task {self.key} produces {len(models)} models; name one of its outputs: "
                f"{', '.join(sorted(self.outputs)) or 'there are none'}"
            )
        return models[0]


Input: TypeAlias = str | Output | Task | pb.Model | pb.DataManager | pb.DataSample
"""An asset, its key, or what an earlier task will produce."""

Inputs: TypeAlias = Mapping[str, Input | Iterable[Input]]
"""Identifier -> what the function is given there."""


def build(
    plan: str,
    function: pb.Function,
    inputs: Inputs,
    outputs: Mapping[str, Permissions | pb.NewComputeTaskOutput],
    worker: str,
    metadata: Mapping[str, str],
) -> Task:
    """Return a task that fits its function.

    Args:
        plan: key of the compute plan.
        function: as the orchestrator has it.
        inputs: what it is given; an optional input may be left out, or be None or empty.
        outputs: who may use them; those left out are their owner's alone, performances public.
        worker: the organization that runs it; empty leaves it to the data manager.
        metadata: anything, for people.

    Raises:
        PlanError: the function declares something else.
    """
    _check_names(function, "input", inputs, function.inputs)
    _check_names(function, "output", outputs, function.outputs)
    given = {name: _values(value) for name, value in inputs.items()}
    for name, declared in sorted(function.inputs.items()):
        _check_number(function, name, declared, len(given.get(name, ())))
    message = pb.NewComputeTask(
        key=str(uuid.uuid4()),
        function_key=function.key,
        compute_plan_key=plan,
        worker=worker,
        metadata=metadata,
        inputs=[_ref(function, name, value) for name, values in given.items() for value in values],
        outputs={name: _output(declared, outputs.get(name)) for name, declared in function.outputs.items()},
    )
    return Task(message, function)


def _check_names(function: pb.Function, what: str, given: Iterable[str], declared: Iterable[str]) -> None:
    for name in set(given) - set(declared):
        raise PlanError(
            f"function {function.name!r} has no {what} {name!r}; "
            f"it declares {', '.join(sorted(declared)) or f'no {what}s'}"
        )


def _values(given: Input | Iterable[Input] | None) -> list[Input]:
    if given is None:
        return []
    return [given] if isinstance(given, _ONE) else list(given)


def _check_number(function: pb.Function, name: str, declared: pb.FunctionInput, number: int) -> None:
    if not number and not declared.optional:
        raise PlanError(f"function {function.name!r} needs the input {name!r} ({_kind(declared.kind)})")
    if number > 1 and not declared.multiple:
        raise PlanError(f"function {function.name!r} takes one {name!r}, but is given {number}")


def _ref(function: pb.Function, name: str, value: Input) -> pb.ComputeTaskInput:
    declared = function.inputs[name]
    if isinstance(value, Task):
        value = value.model
    if not isinstance(value, Output):
        return pb.ComputeTaskInput(identifier=name, asset_key=value if isinstance(value, str) else value.key)
    if value.declared.kind != declared.kind or (value.declared.multiple and not declared.multiple):
        raise PlanError(
            f"function {function.name!r} takes {_number(declared)} as {name!r}, "
            f"but the output {value.identifier!r} of task {value.task} is {_number(value.declared)}"
        )
    return pb.ComputeTaskInput(
        identifier=name,
        parent_task_output=pb.ParentTaskOutputRef(parent_task_key=value.task, output_identifier=value.identifier),
    )


def _output(
    declared: pb.FunctionOutput, given: Permissions | pb.NewComputeTaskOutput | None
) -> pb.NewComputeTaskOutput:
    if isinstance(given, pb.NewComputeTaskOutput):
        return given
    if given is None:
        given = PUBLIC if declared.kind == pb.ASSET_PERFORMANCE else ()
    return pb.NewComputeTaskOutput(permissions=permissions(given))


def permissions(given: Permissions) -> pb.NewPermissions:
    """Return permissions as they are registered; the owner is appended by the orchestrator."""
    if isinstance(given, pb.NewPermissions):
        return given
    return pb.NewPermissions(authorized_ids=[given] if isinstance(given, str) else given)


def _number(declared: pb.FunctionInput | pb.FunctionOutput) -> str:
    kind = _kind(declared.kind)
    return f"several {kind}s" if declared.multiple else f"one {kind}"


def _kind(kind: "pb.AssetKind.ValueType") -> str:
    return pb.AssetKind.Name(kind).removeprefix("ASSET_").lower().replace("_", " ")


_ONE = (str, Output, Task, pb.Model, pb.DataManager, pb.DataSample)
