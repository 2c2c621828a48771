"""The registration of tasks: every rule of `RegisterTasks`, on values read in bulk beforehand."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.compute.declarations import Declared, Granted, Input, Outputs
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import Graph
from orchestrator.compute.tasks import KIND
from orchestrator.core import fields, permissions, pokes, states
from orchestrator.core.errors import (
    BadRequestError,
    InvalidAssetError,
    NotFoundError,
    OrchestratorError,
    PermissionDeniedError,
    TerminatedPlanError,
)
from orchestrator.engine import graph
from orchestrator.engine.plans import Plan
from orchestrator.engine.tasks import NewTask

_DATA_KINDS = (pb.ASSET_DATA_MANAGER, pb.ASSET_DATA_SAMPLE)
# What the tasks of a call have in common is made once; of a call in which they have little, not all is kept.
_KEPT = 4096


class Parent(NamedTuple):
    """What children are checked against, of a task that exists or comes before them in the call.

    Args:
        key: its key.
        declared: what its function declares.
        status: its state.
        rank: how deep it lies in the graph.
        logs: who may read the log of its failure, a `Permission`, serialized.
        outputs: its outputs.
    """

    key: str
    declared: Declared
    status: "states.TaskStatus"
    rank: int
    logs: bytes
    outputs: Outputs

    @classmethod
    def of(cls, task: pb.ComputeTask, declared: Declared) -> Self:
        """Return it of a task that exists, whose function declares so."""
        logs = task.logs_permission.SerializeToString()
        return cls(task.key, declared, task.status, task.rank, logs, Outputs(task.outputs))


@dataclass(frozen=True)
class Known:
    """What the tasks of one call refer to, each by its key.

    Args:
        plans: the compute plans.
        functions: those of the tasks and of their parents.
        data_managers: the inputs of that kind that exist.
        data_samples: the inputs of that kind that exist.
        models: the inputs of that kind that exist.
        parents: the parents that exist already, each with its status.
        disabled: those of them that have a disabled model.
        organizations: the members registered in the channel.
        makers: tasks that have made some of the models, and count as parents where it is said who may read logs.
    """

    plans: Mapping[str, Plan]
    functions: Mapping[str, pb.Function]
    data_managers: Mapping[str, pb.DataManager]
    data_samples: Mapping[str, pb.DataSample]
    models: Mapping[str, pb.Model]
    parents: Mapping[str, pb.ComputeTask]
    disabled: Collection[str]
    organizations: Collection[str]
    makers: Mapping[str, pb.ComputeTask] = field(default_factory=dict)


Passed: TypeAlias = Callable[[str, OrchestratorError], None]
"""Is told of a task that breaks a rule, by its key, and which."""


def register(
    tasks: Packed,
    parents: Graph,
    caller: str,
    known: Known,
    now: Timestamp,
    passed: Passed | None = None,
    missing: Collection[str] = (),
) -> Iterator[NewTask]:
    """Yield the tasks as they are to be stored, parents before children.

    Args:
        tasks: by their keys, valid by themselves (`compute.validation.check_task`), keys in lower case.
        parents: their graph.
        caller: the organization that registers them, their owner.
        known: everything they refer to outside of this call.
        now: their date of creation.
        passed: where given, a task that breaks a rule is passed over, and all that is below it.
        missing: keys of tasks that were passed over before: so is what is below them.

    Raises:
        OrchestratorError: the contract's error for the first rule that one of them breaks.
    """
    left_out = set(missing)

    def refuse(key: str, error: OrchestratorError) -> None:
        if passed is None:
            raise error
        left_out.add(key)
        passed(key, error)

    for key, above in parents.items():
        for parent in above:
            if parent not in parents and parent not in known.parents and parent not in missing:
                refuse(key, InvalidAssetError(f"task {key}: its parent {parent} does not exist"))
                break
    order = graph.sort(parents)
    if len(order) < len(tasks):
        sorted_keys = set(order)
        stuck = next(key for key in tasks if key not in sorted_keys)
        refuse(stuck, InvalidAssetError(f"task {stuck}: it is part of a cycle, or waits for one"))
    declared = {key: Declared(function) for key, function in known.functions.items()}
    before = {key: Parent.of(task, declared[task.function_key]) for key, task in known.parents.items()}
    registration = _Registration(caller, known, now, declared, before)
    for key in order:
        if left_out and (key in left_out or not left_out.isdisjoint(parents[key])):
            left_out.add(key)
            continue
        try:
            registered, before[key] = registration.task(key, tasks[key], parents[key])
        except OrchestratorError as error:
            refuse(key, error)
            continue
        yield registered


class _Registration:
    """The tasks of a call on their way in, one after another.

    Args:
        caller: their owner.
        known: what the call refers to.
        now: their date of creation.
        declared: what the functions declare, by their keys.
        tasks: the parents that exist, and the tasks of this call that came before.
    """

    def __init__(
        self,
        caller: str,
        known: Known,
        now: Timestamp,
        declared: Mapping[str, Declared],
        tasks: Mapping[str, Parent],
    ) -> None:
        self._caller = caller
        self._known = known
        self._now = now
        self._declared = declared
        self._tasks = tasks
        self._granted = Granted(caller, known.organizations)
        self._functions: set[str] = set()
        self._plans: set[str] = set()
        self._shared = lru_cache(_KEPT)(self._make_shared)
        self._key = ""

    def task(self, key: str, new: pb.NewComputeTask, parent_keys: tuple[str, ...]) -> tuple[NewTask, Parent]:
        """Return a task as it is to be stored, and as its children are checked against it.

        Args:
            key: its key.
            new: as the client wrote it; it is used up.
            parent_keys: the keys of its parents, each once.
        """
        self._key = key
        function_key, plan_key = new.function_key, new.compute_plan_key
        if function_key not in self._functions:
            self._check_function(function_key)
            self._functions.add(function_key)
        if plan_key not in self._plans:
            self._check_plan(plan_key)
            self._plans.add(plan_key)
        declared = self._declared[function_key]
        inputs = self._inputs(new, declared)
        manager = self._data_manager(inputs.data_managers)
        worker = self._worker(new.worker, manager)
        self._check_samples(inputs.data_samples, manager)
        parents = [self._tasks[parent] for parent in parent_keys]
        for spec, given in inputs.models:
            self._check_model_input(given, spec, worker)
        if manager:
            logs = manager.logs_permission.SerializeToString()
        else:
            logs = self._granted.own
            for readers in (*(parent.logs for parent in parents), *self._readers_of_makers(inputs.models)):
                if readers != logs:
                    logs = self._granted.union(logs, readers)
        outputs = self._granted.outputs(new, function_key, lambda: self._outputs(new, declared))
        rank = max((parent.rank for parent in parents), default=-1) + 1
        # What it has for itself has the same numbers in its message, where one that is unknown here may be known.
        for field_name in ("function_key", "compute_plan_key", "worker", "outputs"):
            new.ClearField(field_name)
        new.DiscardUnknownFields()
        shared = self._shared(worker, plan_key, function_key, logs, outputs)
        definition = b"".join((new.SerializeToString(), _ranked(rank), shared))
        fields.check_size(len(definition), f"task {key}")
        statuses = [parent.status for parent in parents]
        status = states.initial_status(self._known.functions[function_key].status, statuses)
        pending = len(statuses) - statuses.count(pb.STATUS_DONE)
        registered = NewTask(
            key,
            KIND,
            plan_key,
            worker,
            pokes.queue(worker),
            status,
            definition,
            parent_keys,
            pending,
            rank,
            function_key,
        )
        # Nothing of the task's own message: any part of it keeps all of it in memory.
        return registered, Parent(key, declared, status, rank, logs, outputs)

    def _make_shared(self, worker: str, plan: str, function: str, logs: bytes, outputs: Outputs) -> bytes:
        """Return what a task has in common with others, serialized."""
        return pb.ComputeTask(
            owner=self._caller,
            compute_plan_key=plan,
            worker=worker,
            creation_date=self._now,
            logs_permission=pb.Permission.FromString(logs),
            outputs=outputs.messages,
            function_key=function,
        ).SerializeToString()

    def _fail(self, what: str) -> str:
        return f"task {self._key}: {what}"

    def _check_function(self, key: str) -> None:
        function = self._known.functions.get(key)
        if function is None:
            raise NotFoundError(self._fail(f"function {key} does not exist"))
        if not permissions.allows(who := function.permissions.process, self._caller):
            raise PermissionDeniedError(
                self._fail(
                    f"function {function.key} of {function.owner} may not be used by {self._caller}, only by "
                    f"{permissions.users(who)}"
                )
            )

    def _check_plan(self, key: str) -> None:
        plan = self._known.plans.get(key)
        if plan is None:
            raise NotFoundError(self._fail(f"compute plan {key} does not exist"))
        if plan.owner != self._caller:
            raise PermissionDeniedError(self._fail(f"compute plan {plan.key} belongs to {plan.owner}"))
        if plan.outcome == pb.STATUS_CANCELED:
            raise TerminatedPlanError(self._fail(f"compute plan {plan.key} has been cancelled and takes no more tasks"))

    def _inputs(self, new: pb.NewComputeTask, declared: Declared) -> "_Inputs":
        """Return what a task is given, when it is known that its function takes that."""
        inputs, seen = _Inputs([], [], []), set()
        for given in new.inputs:
            identifier = given.identifier
            spec = declared.inputs.get(identifier)
            if spec is None:
                raise InvalidAssetError(self._fail(f"the function declares no input {identifier!r}"))
            if identifier in seen and not spec.multiple:
                raise InvalidAssetError(self._fail(f"input {identifier!r} takes one asset only"))
            seen.add(identifier)
            if spec.kind == pb.ASSET_MODEL:
                inputs.models.append((spec, given))
            elif spec.kind in _DATA_KINDS:
                if given.HasField("parent_task_output"):
                    message = f"input {identifier!r} takes an asset key, not a parent's output"
                    raise InvalidAssetError(self._fail(message))
                keys = inputs.data_managers if spec.kind == pb.ASSET_DATA_MANAGER else inputs.data_samples
                keys.append(given.asset_key)
        for identifier in declared.needed:
            if identifier not in seen:
                raise InvalidAssetError(self._fail(f"input {identifier!r} is missing"))
        return inputs

    def _data_manager(self, keys: Sequence[str]) -> pb.DataManager | None:
        if not keys:
            return None
        manager = self._known.data_managers.get(keys[0])
        if manager is None:
            raise NotFoundError(self._fail(f"data manager {keys[0]} does not exist"))
        if not permissions.allows(who := manager.permissions.process, self._caller):
            raise PermissionDeniedError(
                self._fail(
                    f"data manager {manager.key} of {manager.owner} may not be used by {self._caller}, only by "
                    f"{permissions.users(who)}"
                )
            )
        return manager

    def _worker(self, worker: str, manager: pb.DataManager | None) -> str:
        if manager:
            if worker not in ("", manager.owner):
                raise BadRequestError(self._fail(f"its data lie at {manager.owner}, so {worker} cannot be its worker"))
            worker = manager.owner
        if not worker:
            raise BadRequestError(self._fail("a task without a data manager needs a worker"))
        if worker not in self._known.organizations:
            raise NotFoundError(self._fail(f"its worker {worker!r} is not registered in this channel"))
        return worker

    def _readers_of_makers(self, models: Sequence[tuple[Input, pb.ComputeTaskInput]]) -> Iterator[bytes]:
        """Yield who may read the logs of those tasks that have made what is given by its key."""
        if self._known.makers:
            for _, given in models:
                model = self._known.models.get(given.asset_key)
                if model is not None and model.compute_task_key in self._known.makers:
                    yield self._known.makers[model.compute_task_key].logs_permission.SerializeToString()

    def _check_samples(self, keys: Sequence[str], manager: pb.DataManager | None) -> None:
        for key in keys:
            sample = self._known.data_samples.get(key)
            if sample is None:
                raise NotFoundError(self._fail(f"data sample {key} does not exist"))
            if manager is None or manager.key not in sample.data_manager_keys:
                raise InvalidAssetError(self._fail(f"data sample {key} does not belong to its data manager"))

    def _check_model_input(self, given: pb.ComputeTaskInput, spec: Input, worker: str) -> None:
        if given.HasField("parent_task_output"):
            self._check_parent_output(given.parent_task_output, spec, worker)
            return
        model = self._known.models.get(given.asset_key)
        if model is None:
            raise NotFoundError(self._fail(f"model {given.asset_key} does not exist"))
        if not model.HasField("address"):
            raise InvalidAssetError(self._fail(f"model {model.key} has been disabled"))
        if not permissions.allows(who := model.permissions.process, worker):
            said = f"model {model.key} may not be used by {worker}, only by {permissions.users(who)}"
            raise PermissionDeniedError(self._fail(said))

    def _check_parent_output(self, ref: pb.ParentTaskOutputRef, spec: Input, worker: str) -> None:
        parent, identifier = self._tasks[ref.parent_task_key], ref.output_identifier
        output = parent.declared.outputs.get(identifier)
        if output is None:
            raise InvalidAssetError(self._fail(f"{_shown(identifier, parent)} does not exist"))
        if output.kind != spec.kind:
            raise InvalidAssetError(self._fail(f"{_shown(identifier, parent)} is no model"))
        if output.multiple and not spec.multiple:
            said = f"{_shown(identifier, parent)} is multiple, and the input takes one model only"
            raise InvalidAssetError(self._fail(said))
        if parent.status == pb.STATUS_DONE and parent.key in self._known.disabled:
            raise InvalidAssetError(self._fail(f"a model of its parent {parent.key} has been disabled"))
        if not parent.outputs.allow(identifier, worker):
            who = permissions.users(parent.outputs.messages[identifier].permissions.process)
            said = f"{_shown(identifier, parent)} may not be used by {worker}, only by {who}"
            raise PermissionDeniedError(self._fail(said))

    def _outputs(self, new: pb.NewComputeTask, declared: Declared) -> Outputs:
        missing, unknown = declared.outputs.keys() - new.outputs.keys(), new.outputs.keys() - declared.outputs.keys()
        if missing or unknown:
            names = ", ".join(map(repr, sorted(missing or unknown)))
            fault = f"lacks the outputs {names}" if missing else f"has outputs {names} that"
            raise InvalidAssetError(self._fail(f"{fault} its function {'declares' if missing else 'does not declare'}"))
        outputs = {}
        for identifier, asked in new.outputs.items():
            if declared.outputs[identifier].kind == pb.ASSET_PERFORMANCE:
                if not asked.permissions.public:
                    raise InvalidAssetError(self._fail(f"output {identifier!r}: a performance must be public"))
                if asked.transient:
                    raise InvalidAssetError(self._fail(f"output {identifier!r}: a performance cannot be transient"))
            try:
                outputs[identifier] = self._granted.of(asked)
            except BadRequestError as error:
                reason = str(error).removeprefix(f"{error.code}: ")
                raise BadRequestError(self._fail(f"output {identifier!r}: {reason}")) from error
        return Outputs(outputs)


class _Inputs(NamedTuple):
    """What a task is given: keys of data, and models with what its function says of each."""

    data_managers: list[str]
    data_samples: list[str]
    models: list[tuple[Input, pb.ComputeTaskInput]]


@lru_cache(_KEPT)
def _ranked(rank: int) -> bytes:
    """Return the field of a task that says how deep it lies, serialized."""
    return pb.ComputeTask(rank=rank).SerializeToString()


def _shown(output: str, parent: Parent) -> str:
    return f"output {output!r} of its parent {parent.key}"
