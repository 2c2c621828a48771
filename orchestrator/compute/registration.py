"""The registration of tasks: every rule of `RegisterTasks`, on values read in bulk beforehand."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.compute.declarations import Declared, Granted, Input
from orchestrator.compute.references import Graph
from orchestrator.core import fields, permissions, states
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

_DATA_KINDS = (pb.ASSET_DATA_MANAGER, pb.ASSET_DATA_SAMPLE)


@dataclass(frozen=True)
class Registered:
    """A task as it is to be stored.

    Args:
        new: as the client wrote it.
        worker: the organization that runs it.
        rank: how deep it lies in the graph.
        status: its first.
        definition: its message without it, serialized.
        parents: the keys of its parents, each once.
        pending_parents: how many of them are not Done.
    """

    new: pb.NewComputeTask
    worker: str
    rank: int
    status: states.TaskStatus
    definition: bytes
    parents: tuple[str, ...]
    pending_parents: int


class Parent(NamedTuple):
    """What children are checked against, of a task that exists or comes before them in the call."""

    key: str
    declared: Declared
    status: "states.TaskStatus"
    rank: int
    logs_permission: pb.Permission
    outputs: Mapping[str, pb.ComputeTaskOutput]

    @classmethod
    def of(cls, task: pb.ComputeTask, declared: Declared) -> Self:
        """Return it of a task that exists, whose function declares so."""
        return cls(task.key, declared, task.status, task.rank, task.logs_permission, task.outputs)


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
    tasks: Mapping[str, pb.NewComputeTask],
    parents: Graph,
    caller: str,
    known: Known,
    now: Timestamp,
    passed: Passed | None = None,
    missing: Collection[str] = (),
) -> Iterator[Registered]:
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
    granted = Granted(caller, known.organizations)
    for key in order:
        if left_out and (key in left_out or not left_out.isdisjoint(parents[key])):
            left_out.add(key)
            continue
        try:
            checked = _Registration(key, tasks[key], caller, known, before, declared, granted)
            registered, before[key] = checked.task(parents[key], now)
        except OrchestratorError as error:
            refuse(key, error)
            continue
        yield registered


class _Registration:
    """One task on its way in.

    Args:
        key: its key.
        new: as the client wrote it.
        caller: its owner.
        known: what the call refers to.
        tasks: the parents that exist and the tasks of this call that came before.
        declared: what the functions declare, by their keys.
        granted: the permissions of outputs.
    """

    def __init__(
        self,
        key: str,
        new: pb.NewComputeTask,
        caller: str,
        known: Known,
        tasks: Mapping[str, Parent],
        declared: Mapping[str, Declared],
        granted: Granted,
    ) -> None:
        self._key = key
        self._new = new
        self._caller = caller
        self._known = known
        self._tasks = tasks
        self._granted = granted
        self._function = self._usable_function()
        self._declared = declared[self._function.key]

    def task(self, parent_keys: tuple[str, ...], now: Timestamp) -> tuple[Registered, Parent]:
        """Return it as it is to be stored, and as its children are checked against it.

        Args:
            parent_keys: the keys of its parents, each once.
            now: its date of creation.
        """
        self._check_plan()
        self._check_identifiers()
        manager = self._data_manager()
        worker = self._worker(manager)
        self._check_samples(manager)
        parents = [self._tasks[key] for key in parent_keys]
        for given in self._new.inputs:
            self._check_model_input(given, worker)
        if manager:
            logs = manager.logs_permission
        else:
            logs = self._granted.own
            for readers in (*(parent.logs_permission for parent in parents), *self._readers_of_makers()):
                if readers != logs:
                    logs = permissions.union(logs, readers)
        outputs = self._granted.outputs(self._new, self._function.key, self._outputs)
        rank = max((parent.rank + 1 for parent in parents), default=0)
        task = pb.ComputeTask(
            key=self._key,
            owner=self._caller,
            compute_plan_key=self._new.compute_plan_key,
            rank=rank,
            worker=worker,
            creation_date=now,
            logs_permission=logs,
            metadata=self._new.metadata,
            inputs=self._new.inputs,
            outputs=outputs,
            function_key=self._function.key,
        )
        statuses = [parent.status for parent in parents]
        status = states.initial_status(self._function.status, statuses)
        pending = sum(each != pb.STATUS_DONE for each in statuses)
        definition = task.SerializeToString()
        fields.check_size(len(definition), f"task {self._key}")
        registered = Registered(self._new, worker, rank, status, definition, parent_keys, pending)
        # Nothing of the task's own message: any part of it keeps all of it in memory.
        return registered, Parent(self._key, self._declared, status, rank, logs, outputs)

    def _fail(self, what: str) -> str:
        return f"task {self._key}: {what}"

    def _usable_function(self) -> pb.Function:
        function = self._known.functions.get(self._new.function_key)
        if function is None:
            raise NotFoundError(self._fail(f"function {self._new.function_key} does not exist"))
        if not permissions.allows(who := function.permissions.process, self._caller):
            raise PermissionDeniedError(
                self._fail(
                    f"function {function.key} of {function.owner} may not be used by {self._caller}, only by "
                    f"{permissions.users(who)}"
                )
            )
        return function

    def _check_plan(self) -> None:
        plan = self._known.plans.get(self._new.compute_plan_key)
        if plan is None:
            raise NotFoundError(self._fail(f"compute plan {self._new.compute_plan_key} does not exist"))
        if plan.owner != self._caller:
            raise PermissionDeniedError(self._fail(f"compute plan {plan.key} belongs to {plan.owner}"))
        if plan.outcome == pb.STATUS_CANCELED:
            raise TerminatedPlanError(self._fail(f"compute plan {plan.key} has been cancelled and takes no more tasks"))

    def _check_identifiers(self) -> None:
        declared = self._declared.inputs
        seen = set()
        for given in self._new.inputs:
            identifier = given.identifier
            spec = declared.get(identifier)
            if spec is None:
                raise InvalidAssetError(self._fail(f"the function declares no input {identifier!r}"))
            if identifier in seen and not spec.multiple:
                raise InvalidAssetError(self._fail(f"input {identifier!r} takes one asset only"))
            seen.add(identifier)
            if spec.kind in _DATA_KINDS and given.WhichOneof("ref") == "parent_task_output":
                raise InvalidAssetError(self._fail(f"input {identifier!r} takes an asset key, not a parent's output"))
        for identifier in self._declared.needed:
            if identifier not in seen:
                raise InvalidAssetError(self._fail(f"input {identifier!r} is missing"))

    def _keys(self, kind: "pb.AssetKind.ValueType") -> list[str]:
        inputs = self._declared.inputs
        return [given.asset_key for given in self._new.inputs if inputs[given.identifier].kind == kind]

    def _data_manager(self) -> pb.DataManager | None:
        keys = self._keys(pb.ASSET_DATA_MANAGER)
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

    def _worker(self, manager: pb.DataManager | None) -> str:
        worker = self._new.worker
        if manager:
            if worker not in ("", manager.owner):
                raise BadRequestError(self._fail(f"its data lie at {manager.owner}, so {worker} cannot be its worker"))
            worker = manager.owner
        if not worker:
            raise BadRequestError(self._fail("a task without a data manager needs a worker"))
        if worker not in self._known.organizations:
            raise NotFoundError(self._fail(f"its worker {worker!r} is not registered in this channel"))
        return worker

    def _readers_of_makers(self) -> Iterator[pb.Permission]:
        """Yield who may read the logs of those tasks that have made what is given by its key."""
        if self._known.makers:
            for key in self._keys(pb.ASSET_MODEL):
                model = self._known.models.get(key)
                if model is not None and model.compute_task_key in self._known.makers:
                    yield self._known.makers[model.compute_task_key].logs_permission

    def _check_samples(self, manager: pb.DataManager | None) -> None:
        for key in self._keys(pb.ASSET_DATA_SAMPLE):
            sample = self._known.data_samples.get(key)
            if sample is None:
                raise NotFoundError(self._fail(f"data sample {key} does not exist"))
            if manager is None or manager.key not in sample.data_manager_keys:
                raise InvalidAssetError(self._fail(f"data sample {key} does not belong to its data manager"))

    def _check_model_input(self, given: pb.ComputeTaskInput, worker: str) -> None:
        spec = self._declared.inputs[given.identifier]
        if spec.kind != pb.ASSET_MODEL:
            return
        if given.WhichOneof("ref") == "asset_key":
            model = self._known.models.get(given.asset_key)
            if model is None:
                raise NotFoundError(self._fail(f"model {given.asset_key} does not exist"))
            if not model.HasField("address"):
                raise InvalidAssetError(self._fail(f"model {model.key} has been disabled"))
            if not permissions.allows(who := model.permissions.process, worker):
                said = f"model {model.key} may not be used by {worker}, only by {permissions.users(who)}"
                raise PermissionDeniedError(self._fail(said))
            return
        self._check_parent_output(given.parent_task_output, spec, worker)

    def _check_parent_output(self, ref: pb.ParentTaskOutputRef, spec: Input, worker: str) -> None:
        parent = self._tasks[ref.parent_task_key]
        shown = f"output {ref.output_identifier!r} of its parent {parent.key}"
        output = parent.declared.outputs.get(ref.output_identifier)
        if output is None:
            raise InvalidAssetError(self._fail(f"{shown} does not exist"))
        if output.kind != spec.kind:
            raise InvalidAssetError(self._fail(f"{shown} is no model"))
        if output.multiple and not spec.multiple:
            raise InvalidAssetError(self._fail(f"{shown} is multiple, and the input takes one model only"))
        if parent.status == pb.STATUS_DONE and parent.key in self._known.disabled:
            raise InvalidAssetError(self._fail(f"a model of its parent {parent.key} has been disabled"))
        if not permissions.allows(who := parent.outputs[ref.output_identifier].permissions.process, worker):
            said = f"{shown} may not be used by {worker}, only by {permissions.users(who)}"
            raise PermissionDeniedError(self._fail(said))

    def _outputs(self) -> dict[str, pb.ComputeTaskOutput]:
        declared = self._declared.outputs
        asked = self._new.outputs
        missing, unknown = declared.keys() - asked.keys(), asked.keys() - declared.keys()
        if missing or unknown:
            names = ", ".join(map(repr, sorted(missing or unknown)))
            fault = f"lacks the outputs {names}" if missing else f"has outputs {names} that"
            raise InvalidAssetError(self._fail(f"{fault} its function {'declares' if missing else 'does not declare'}"))
        outputs = {}
        for identifier, new in self._new.outputs.items():
            if declared[identifier].kind == pb.ASSET_PERFORMANCE:
                if not new.permissions.public:
                    raise InvalidAssetError(self._fail(f"output {identifier!r}: a performance must be public"))
                if new.transient:
                    raise InvalidAssetError(self._fail(f"output {identifier!r}: a performance cannot be transient"))
            try:
                outputs[identifier] = self._granted.of(new)
            except BadRequestError as error:
                reason = str(error).removeprefix(f"{error.code}: ")
                raise BadRequestError(self._fail(f"output {identifier!r}: {reason}")) from error
        return outputs
