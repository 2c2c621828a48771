"""Models: files that tasks made; they lie in the asset store of the task's worker."""

from collections.abc import Sequence
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import results, tasks, validation
from orchestrator.compute.assets import models
from orchestrator.core.errors import BadRequestError, CannotDisableOutputError, ConflictError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement


def register_one(transaction: Transaction, new: pb.NewModel) -> pb.Model:
    """Register a model of a task that the caller runs (deprecated)."""
    return register(transaction, pb.RegisterModelsParam(models=[new])).models[0]


def register(transaction: Transaction, asked: pb.RegisterModelsParam) -> pb.RegisterModelsResponse:
    """Register the models of one task that the caller runs."""
    if not asked.models:
        raise BadRequestError("models: none given")
    for new in asked.models:
        validation.check_model(new)
    keys = {parse_key(new.compute_task_key) for new in asked.models}
    if len(keys) > 1:
        raise BadRequestError("models: one call takes the models of one task only")
    task = results.producing_task(transaction, keys.pop())
    added = add(transaction, task, results.function_of(transaction, task), asked.models)
    return pb.RegisterModelsResponse(models=added)


_FILLED = statement("SELECT output, count(*) AS count FROM models WHERE task_key = :task GROUP BY output")


def add(
    transaction: Transaction, task: pb.ComputeTask, function: pb.Function, new_models: Sequence[pb.NewModel]
) -> list[pb.Model]:
    """Keep valid models of a task that the transaction has locked.

    Raises:
        OrchestratorError: the contract's error for an output that does not exist, is of another kind or is full.
    """
    if not new_models:
        return []
    filled = {row.output: row.count for row in transaction.connection.execute(_FILLED, {"task": UUID(task.key)})}
    added, columns = [], []
    for new in new_models:
        identifier = new.compute_task_output_identifier
        results.check_output(task, function, identifier, pb.ASSET_MODEL)
        if filled.get(identifier) and not function.outputs[identifier].multiple:
            raise ConflictError(f"output {identifier!r} of task {task.key} has its model already")
        filled[identifier] = filled.get(identifier, 0) + 1
        added.append(
            pb.Model(
                key=new.key.lower(),
                compute_task_key=task.key,
                address=new.address,
                permissions=task.outputs[identifier].permissions,
                owner=task.worker,
                creation_date=timestamp(transaction.now),
            )
        )
        transient = task.outputs[identifier].transient
        columns.append({"task_key": UUID(task.key), "output": identifier, "transient": transient})
    models.insert_many(transaction, added, columns)
    for model, row in zip(added, columns, strict=True):
        results.record(transaction, model, model.key, str(row["output"]))
    return added


def get(transaction: Transaction, wanted: pb.GetModelParam) -> pb.Model:
    """Return a model."""
    return models.get(transaction, parse_key(wanted.key))


def of_task(transaction: Transaction, wanted: pb.GetComputeTaskModelsParam) -> pb.GetComputeTaskModelsResponse:
    """List the models that a task made, in the order of their registration."""
    key = parse_key(wanted.compute_task_key, "compute_task_key")
    tasks.get(transaction, key)
    return pb.GetComputeTaskModelsResponse(models=[model for _, model in _of_tasks(transaction, [key])])


def by_output(transaction: Transaction, task_keys: Sequence[UUID]) -> dict[tuple[str, str], list[pb.Model]]:
    """Return the models of several tasks by task key and output identifier, in the order of their registration."""
    found: dict[tuple[str, str], list[pb.Model]] = {}
    for output, model in _of_tasks(transaction, task_keys):
        found.setdefault((model.compute_task_key, output), []).append(model)
    return found


_DISABLED = statement("SELECT task_key FROM models WHERE task_key = ANY(CAST(:tasks AS uuid[])) AND disabled")


def disabled_parents(transaction: Transaction, task_keys: Sequence[UUID]) -> set[str]:
    """Return the keys of those tasks that have a disabled model."""
    if not task_keys:
        return set()
    return set(map(str, transaction.connection.execute(_DISABLED, {"tasks": list(task_keys)}).scalars()))


def disable(transaction: Transaction, task: UUID, identifier: str) -> None:
    """Take the addresses of an output's models away.

    Raises:
        CannotDisableOutputError: it has none that still bears one.
    """
    found = [model for output, model in _of_tasks(transaction, [task]) if output == identifier]
    enabled = [model for model in found if model.HasField("address")]
    if not enabled:
        raise CannotDisableOutputError(f"output {identifier!r} of task {task} has no model, or is disabled already")
    for model in enabled:
        model.ClearField("address")
        models.save(transaction, model, disabled=True)
        transaction.events.disabled(model.key, model)


_OF_TASKS = statement("""
    SELECT output, message FROM models
    WHERE task_key = ANY(CAST(:tasks AS uuid[])) AND channel = :channel ORDER BY position
""")


def _of_tasks(transaction: Transaction, task_keys: Sequence[UUID]) -> list[tuple[str, pb.Model]]:
    rows = transaction.connection.execute(_OF_TASKS, {"tasks": list(task_keys), "channel": transaction.channel})
    return [(row.output, pb.Model.FromString(row.message)) for row in rows]
