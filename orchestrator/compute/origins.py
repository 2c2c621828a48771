"""A compute plan as another continues it: its tasks, with those that it reused itself, and what is left of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, links, models, reuse
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.packed import Packed
from orchestrator.core.states import TaskStatus
from orchestrator.engine import graph, plans, tasks
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement


@dataclass(frozen=True)
class Origin:
    """A plan that is continued.

    Args:
        plan: the plan itself.
        tasks: its tasks as they would be registered anew, parents before children; what one was given by its key, and
            another of them has made, is an output of that one.
        statuses: of these, and of the parents that are of other plans.
        needs: what each task is given of others: their keys, and which output.
        made: the models of all these by task and output.
        gone: the outputs of all these that nobody has any more.
    """

    plan: pb.ComputePlan
    tasks: Mapping[str, pb.NewComputeTask]
    statuses: Mapping[str, TaskStatus]
    needs: Mapping[str, list[tuple[str, str]]]
    made: Mapping[tuple[str, str], list[pb.Model]]
    gone: Collection[tuple[str, str]]

    def among(self, *statuses: TaskStatus) -> list[str]:
        """Return the keys of its tasks that are in one of some states."""
        return [key for key in self.tasks if self.statuses[key] in statuses]


_FUNCTIONS = statement("""
    SELECT DISTINCT requires FROM tasks WHERE plan_key = :plan AND channel = :channel AND requires IS NOT NULL
""")


def hold(transaction: Transaction, key: UUID) -> Plan | None:
    """Hold the latch of a plan until the transaction ends; return None where the channel has none with the key.

    Its functions are locked before, as by whoever registers tasks: who moves one holds it, and waits for latches.
    """
    rows = transaction.connection.execute(_FUNCTIONS, {"plan": key, "channel": transaction.channel})
    assets.functions.get_many(transaction, list(rows.scalars()), share=True)
    return plans.hold(transaction, [key]).get(key)


def read(transaction: Transaction, plan: pb.ComputePlan) -> Origin:
    """Return a plan whose latch the transaction holds; the models of its tasks stay as they are until it ends."""
    key = UUID(plan.key)
    reused = [each.first for each in links.tasks_of(transaction, key) if each.reused]
    rows = [*tasks.get_many(transaction, reused).values(), *tasks.of_plan(transaction, key)]
    made = models.by_output(transaction, [row.key for row in rows], share=True) if rows else {}
    makers = {model.key: output for output, several in made.items() for model in several}
    functions: dict[str, pb.Function] = {}
    wanted, needs = Packed(), dict[str, list[tuple[str, str]]]()
    statuses = {str(row.key): row.status for row in rows}
    gone: set[tuple[str, str]] = set()
    for row in rows:
        task = compute_tasks.to_message(row)
        if task.function_key not in functions:
            functions |= assets.functions.get_many(transaction, [UUID(task.function_key)])
        new = _as_new(task, makers)
        leave_to_data(new, functions)
        needs[task.key] = outputs_of(new.inputs)
        gone |= _gone(task, made)
        wanted.add(new)
    above = {parent for outputs in needs.values() for parent, _ in outputs} - statuses.keys()
    others = compute_tasks.get_many(transaction, [UUID(parent) for parent in above])
    if others:
        made |= models.by_output(transaction, [UUID(parent) for parent in others], share=True)
        statuses |= {parent: task.status for parent, task in others.items()}
        gone = gone.union(*(_gone(task, made) for task in others.values()))
    order = graph.sort({task: [parent for parent, _ in outputs] for task, outputs in needs.items()})
    return Origin(plan, wanted.ordered(order), statuses, needs, made, gone)


def known(transaction: Transaction, *wanted: Mapping[str, pb.NewComputeTask]) -> reuse.Known:
    """Return what tasks refer to."""
    runs: dict[str, None] = {}
    given: dict[str, None] = {}
    for tasks_of_one in wanted:
        for task in tasks_of_one.values():
            runs[task.function_key] = None
            given |= {each.asset_key: None for each in task.inputs if each.WhichOneof("ref") == "asset_key"}
    keys = [UUID(key) for key in given]
    return reuse.Known(
        assets.functions.get_many(transaction, [UUID(key) for key in runs]),
        assets.data_managers.get_many(transaction, keys),
        assets.data_samples.get_many(transaction, keys),
        assets.models.get_many(transaction, keys),
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


def _gone(task: pb.ComputeTask, made: Mapping[tuple[str, str], list[pb.Model]]) -> set[tuple[str, str]]:
    """Return the outputs of a Done task that were disabled, in part perhaps, or of which nothing was made."""
    if task.status != pb.STATUS_DONE:
        return set()
    return {
        (task.key, output)
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
