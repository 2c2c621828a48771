"""The tasks of a compute plan that is being built, and how they fit the functions that they run."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import PlanError
from orchestrator.client.shown import Shown

PUBLIC = pb.NewPermissions(public=True)
"""Every organization of the channel."""

Permissions: TypeAlias = pb.NewPermissions | str | Iterable[str]
"""Who may use an output besides its owner: PUBLIC, an organization, or several."""


@dataclass(frozen=True, repr=False)
class Output(Shown):
    """What a task will produce, to be an input of later tasks.

    Args:
        task: the task's key.
        identifier: what its function calls it.
        declared: its kind, and whether there may be several.
    """

    task: str
    identifier: str
    declared: pb.FunctionOutput

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        return {"identifier": self.identifier, "kind": _number(self.declared), "task": self.task}


class _Outputs(dict[str, Output]):
    """What a task will produce, by identifier; another identifier is refused in words."""

    def __init__(self, function: pb.Function, outputs: Mapping[str, Output]) -> None:
        super().__init__(outputs)
        self._function = function

    def __missing__(self, identifier: str) -> Output:
        _check_names(self._function, "output", [identifier], self)
        raise KeyError(identifier)


class Task(Shown):
    """One run of a function, in a compute plan that is being built.

    Args:
        message: what will be registered.
        function: what it runs.

    Attributes:
        key: the key that the task will have.
        function: as given.
        outputs: identifier -> output; pass them, or the task itself where it has one model, to later tasks.
        reused: whether a task of another plan stands for it, whose key it then has: a rerun need not run it.
    """

    def __init__(self, message: pb.NewComputeTask, function: pb.Function) -> None:
        self.message = message
        self.reused = False
        self.function = function
        self._name(message.key)

    def reuse(self, origin: str) -> None:
        """Take the place of a task of another plan, given by its key: its results are this one's."""
        self.reused = True
        self._name(origin)

    def _name(self, key: str) -> None:
        self.key = key
        self.outputs: Mapping[str, Output] = _Outputs(
            self.function,
            {identifier: Output(key, identifier, declared) for identifier, declared in self.function.outputs.items()},
        )

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        numbers = Counter(given.identifier for given in self.message.inputs)
        shown: dict[str, object] = {"function": self.function.name, "key": self.key}
        if self.message.worker:
            shown["worker"] = self.message.worker
        shown["inputs"] = ", ".join(f"{name} ({number})" for name, number in numbers.items())
        shown["outputs"] = ", ".join(self.outputs)
        return {**shown, **self.message.metadata}

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

LookUp: TypeAlias = "Callable[[pb.AssetKind.ValueType, Iterable[str]], Mapping[str, str]]"
"""Returns the whole keys by those that were given, which may be beginnings.

Raises `PlanError` where one is none of an asset of that kind.
"""


def build(
    plan: str,
    function: pb.Function,
    inputs: Inputs,
    outputs: Mapping[str, Permissions | pb.NewComputeTaskOutput],
    worker: str,
    metadata: Mapping[str, str],
    look_up: LookUp,
) -> Task:
    """Return a task that fits its function.

    Args:
        plan: key of the compute plan.
        function: as the orchestrator has it.
        inputs: what it is given; an optional input may be left out, or be None or empty.
        outputs: who may use them; those left out are their owner's alone, performances public.
        worker: the organization that runs it; empty leaves it to the data manager.
        metadata: anything, for people.
        look_up: raises where a key is none of what the function takes.

    Raises:
        PlanError: the function declares something else, or a key is none of what it takes.
        CallError: a key cannot be looked up.
    """
    _check_names(function, "input", inputs, function.inputs)
    _check_names(function, "output", outputs, function.outputs)
    given = {name: _values(function, name, value) for name, value in inputs.items()}
    for name, declared in sorted(function.inputs.items()):
        _check_number(function, name, declared, len(given.get(name, ())))
    refs = [_ref(function, name, value) for name, values in given.items() for value in values]
    for name, values in given.items():
        if some := [value.lower() for value in values if isinstance(value, str)]:
            whole = look_up(function.inputs[name].kind, some)
            for ref in refs:
                if ref.identifier == name and ref.asset_key in whole:
                    ref.asset_key = whole[ref.asset_key]
    message = pb.NewComputeTask(
        key=str(uuid.uuid4()),
        function_key=function.key,
        compute_plan_key=plan,
        worker=worker,
        metadata=texts(metadata),
        inputs=refs,
        outputs={name: _output(declared, outputs.get(name)) for name, declared in function.outputs.items()},
    )
    return Task(message, function)


def _check_names(function: pb.Function, what: str, given: Iterable[str], declared: Iterable[str]) -> None:
    for name in set(given) - set(declared):
        raise PlanError(
            f"function {function.name!r} has no {what} {name!r}; "
            f"it declares {', '.join(sorted(declared)) or f'no {what}s'}"
        )


def _values(function: pb.Function, name: str, given: Input | Iterable[Input] | None) -> list[Input]:
    if given is None:
        return []
    if isinstance(given, str | Output | Task | Message):
        return [given]
    if isinstance(given, Iterable):
        return list(given)
    raise _unfit(function, name, f"a value of type {type(given).__name__}")


def _check_number(function: pb.Function, name: str, declared: pb.FunctionInput, number: int) -> None:
    if not number and not declared.optional:
        raise PlanError(f"function {function.name!r} needs the input {name!r} ({kind_word(declared.kind)})")
    if number > 1 and not declared.multiple:
        raise PlanError(f"function {function.name!r} takes one {name!r}, but is given {number}")


def _ref(function: pb.Function, name: str, value: Input) -> pb.ComputeTaskInput:
    declared = function.inputs[name]
    if isinstance(value, str):
        try:
            return pb.ComputeTaskInput(identifier=name, asset_key=keys.spelled(value, f"a {kind_word(declared.kind)}"))
        except ValueError as error:
            raise PlanError(f"function {function.name!r}, input {name!r}: {error}") from None
    if isinstance(value, Task):
        value = value.model
    if not isinstance(value, Output):
        if _KINDS.get(type(value)) != declared.kind:
            raise _unfit(function, name, f"a value of type {type(value).__name__}")
        return pb.ComputeTaskInput(identifier=name, asset_key=value.key)
    if value.declared.kind != declared.kind or (value.declared.multiple and not declared.multiple):
        raise _unfit(function, name, f"{_number(value.declared)}, the output {value.identifier!r} of task {value.task}")
    return pb.ComputeTaskInput(
        identifier=name,
        parent_task_output=pb.ParentTaskOutputRef(parent_task_key=value.task, output_identifier=value.identifier),
    )


def _unfit(function: pb.Function, name: str, given: str) -> PlanError:
    return PlanError(
        f"function {function.name!r} takes {_number(function.inputs[name])} as {name!r}, but is given {given}"
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


def texts(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return metadata as they are registered.

    Raises:
        PlanError: a name or a value is no text.
    """
    for name, value in (given or {}).items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise PlanError(
                f"metadata are texts by name: say {{{str(name)!r}: {str(value)!r}}}, not {{{name!r}: {value!r}}}"
            )
    return given or {}


def _number(declared: pb.FunctionInput | pb.FunctionOutput) -> str:
    kind = kind_word(declared.kind)
    return f"several {kind}s" if declared.multiple else f"one {kind}"


def kind_word(kind: "pb.AssetKind.ValueType") -> str:
    """Return what people call a kind of asset."""
    return pb.AssetKind.Name(kind).removeprefix("ASSET_").lower().replace("_", " ")


_KINDS: "Mapping[type, pb.AssetKind.ValueType]" = {
    pb.Model: pb.ASSET_MODEL,
    pb.DataManager: pb.ASSET_DATA_MANAGER,
    pb.DataSample: pb.ASSET_DATA_SAMPLE,
}


def identifier(function: pb.Function, kind: "pb.AssetKind.ValueType", role: str) -> str:
    """Return what a function calls its input of a kind, the one called like its role where there are several.

    Raises:
        PlanError: it has none of the kind, or several and none of that name.
    """
    names = [name for name, declared in function.inputs.items() if declared.kind == kind]
    if len(names) == 1:
        return names[0]
    if role in names:
        return role
    word = kind_word(kind)
    found = f"several {word} inputs ({', '.join(sorted(names))})" if names else f"no {word} input"
    raise PlanError(f"function {function.name!r} has {found}; say with plan.task(inputs=…) what it is given")


def share_models(function: pb.Function, given: Permissions) -> dict[str, Permissions]:
    """Return who may use the models that a function makes, by the identifiers of its outputs."""
    shared = permissions(given)
    return {name: shared for name, declared in function.outputs.items() if declared.kind == pb.ASSET_MODEL}
