"""A compute plan as another continues it: its tasks, with those that it reused itself, and what is left of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, links, models, reuse
from orchestrator.compute import tasks as compute_tasks
from orchestrator.engine import graph, tasks
from orchestrator.engine.transaction import Transaction


@dataclass(frozen=True)
class Origin:
    """A plan that is continued.

    Args:
        plan: the plan itself.
        tasks: by their keys, parents before children.
        wanted: the same as they would be registered anew; what a task was given by its key, and another of them has
            made, is an output of that one.
        others: the parents that are of other plans.
        made: the models of all these by task and output.
        gone: the outputs of all these that nobody has any more.
    """

    plan: pb.ComputePlan
    tasks: Mapping[str, pb.ComputeTask]
    wanted: Mapping[str, pb.NewComputeTask]
    others: Mapping[str, pb.ComputeTask]
    made: Mapping[tuple[str, str], list[pb.Model]]
    gone: Collection[tuple[str, str]]

    @property
    def needs(self) -> Mapping[str, list[tuple[str, str]]]:
        """What each task is given of others: their keys, and which output."""
        return {key: outputs_of(task.inputs) for key, task in self.wanted.items()}

    def status(self, task: str) -> "pb.ComputeTaskStatus.ValueType":
        """Return the state of one of its tasks, or of a parent."""
        return (self.tasks.get(task) or self.others[task]).status


def read(transaction: Transaction, plan: pb.ComputePlan) -> Origin:
    """Return a plan whose latch the transaction holds; the models of its tasks stay as they are until it ends."""
    key = UUID(plan.key)
    own = [compute_tasks.to_message(task) for task in tasks.of_plan(transaction, key)]
    reused = compute_tasks.get_many(
        transaction, [each.first for each in links.tasks_of(transaction, key) if each.reused]
    )
    found = {**reused, **{task.key: task for task in own}}
    above = {parent for task in found.values() for parent, _ in outputs_of(task.inputs)} - found.keys()
    others = compute_tasks.get_many(transaction, [UUID(parent) for parent in above])
    every = [UUID(task) for task in (*found, *others)]
    made = models.by_output(transaction, every, share=True) if every else {}
    makers = {
        model.key: output for output, several in made.items() for model in several if model.compute_task_key in found
    }
    functions = assets.functions.get_many(transaction, list({UUID(task.function_key) for task in found.values()}))
    wanted = {task.key: _as_new(task, makers) for task in found.values()}
    for new in wanted.values():
        leave_to_data(new, functions)
    order = graph.sort({task: [parent for parent, _ in outputs_of(new.inputs)] for task, new in wanted.items()})
    return Origin(
        plan,
        {task: found[task] for task in order},
        {task: wanted[task] for task in order},
        others,
        made,
        _gone((*found.values(), *others.values()), made),
    )


def known(transaction: Transaction, wanted: Iterable[pb.NewComputeTask]) -> reuse.Known:
    """Return what tasks refer to."""
    runs = {UUID(task.function_key): None for task in wanted}
    given = {
        UUID(each.asset_key): None for task in wanted for each in task.inputs if each.WhichOneof("ref") == "asset_key"
    }
    return reuse.Known(
        assets.functions.get_many(transaction, list(runs)),
        assets.data_managers.get_many(transaction, list(given)),
        assets.data_samples.get_many(transaction, list(given)),
        assets.models.get_many(transaction, list(given)),
    )


def wanted_by(owner: str, task: pb.NewComputeTask) -> pb.NewComputeTask:
    """Return a task that is sent as one of an origin would be wanted: with its owner among who may use its outputs."""
    new = pb.NewComputeTask.FromString(task.SerializeToString())
    for output in new.outputs.values():
        output.permissions.authorized_ids.append(owner)
    return new


def leave_to_data(task: pb.NewComputeTask, functions: Mapping[str, pb.Function]) -> None:
    """Leave it to the data of a task who runs it, where it has any: others may stand in their place."""
    function = functions.get(task.function_key)
    if function and any(spec.kind == pb.ASSET_DATA_MANAGER for spec in function.inputs.values()):
        task.worker = ""


def outputs_of(inputs: Iterable[pb.ComputeTaskInput]) -> list[tuple[str, str]]:
    """Return the outputs that are given as inputs: the key of a task, and which output of it."""
    refs = [given.parent_task_output for given in inputs if given.WhichOneof("ref") == "parent_task_output"]
    return [(ref.parent_task_key, ref.output_identifier) for ref in refs]


def _gone(every: Iterable[pb.ComputeTask], made: Mapping[tuple[str, str], list[pb.Model]]) -> set[tuple[str, str]]:
    """Return the outputs of Done tasks that were disabled, in part perhaps, or of which nothing was made."""
    return {
        (task.key, output)
        for task in every
        if task.status == pb.STATUS_DONE
        for output in task.outputs
        if not all(model.HasField("address") for model in made.get((task.key, output), ()))
        or (task.key, output) not in made
    }


def _as_new(task: pb.ComputeTask, makers: Mapping[str, tuple[str, str]]) -> pb.NewComputeTask:
    new = pb.NewComputeTask(
        key=task.key,
        function_key=task.function_key,
        compute_plan_key=task.compute_plan_key,
        worker=task.worker,
        metadata=task.metadata,
    )
    for name, output in task.outputs.items():
        granted = output.permissions.process
        new.outputs[name].permissions.public = granted.public
        new.outputs[name].permissions.authorized_ids.extend(granted.authorized_ids)
        new.outputs[name].transient = output.transient
    seen = set()
    for given in task.inputs:
        maker = makers.get(given.asset_key)
        if maker is None:
            new.inputs.append(given)
        elif (given.identifier, maker) not in seen:
            seen.add((given.identifier, maker))
            ref = pb.ParentTaskOutputRef(parent_task_key=maker[0], output_identifier=maker[1])
            new.inputs.add(identifier=given.identifier, parent_task_output=ref)
    return new
