"""Models: files that tasks made; they lie in the asset store of the task's worker."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.compute import definitions, results, tasks, validation
from orchestrator.compute.assets import models
from orchestrator.core.errors import BadRequestError, CannotDisableOutputError, ConflictError, OrchestratorError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.together import Asked, sound
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement


def register_one(transaction: Transaction, new: pb.NewModel) -> pb.Model:
    """Register a model of a task that the caller runs (deprecated)."""
    return register(transaction, pb.RegisterModelsParam(models=[new])).models[0]


def register(transaction: Transaction, asked: pb.RegisterModelsParam) -> pb.RegisterModelsResponse:
    """Register the models of one task that the caller runs."""
    task, function = results.producing_task(transaction, _checked(transaction, asked).key)
    return pb.RegisterModelsResponse(models=add(transaction, task, function.outputs, asked.models))


def register_together(asked: Asked[pb.RegisterModelsParam]) -> Mapping[int, pb.RegisterModelsResponse]:
    """Register the models of tasks that nobody else holds; return the answers by their places."""
    found = sound(asked, _checked)
    held = results.producing_tasks([(transaction, new.key) for transaction, new in found.values()])
    answers: dict[int, pb.RegisterModelsResponse] = {}
    for number, (transaction, new) in found.items():
        if new.key in held:
            task = held[new.key]
            outputs = definitions.outputs(transaction, UUID(task.function_key))
            with suppress(OrchestratorError):
                answers[number] = pb.RegisterModelsResponse(models=add(transaction, task, outputs, new.models))
    return answers


@dataclass(frozen=True)
class _New:
    """Models of one task."""

    key: UUID
    models: Sequence[pb.NewModel]


def _checked(_: Transaction, asked: pb.RegisterModelsParam) -> _New:
    if not asked.models:
        raise BadRequestError("models: none given")
    for new in asked.models:
        validation.check_model(new)
    keys = {parse_key(new.compute_task_key) for new in asked.models}
    if len(keys) > 1:
        raise BadRequestError("models: one call takes the models of one task only")
    return _New(keys.pop(), asked.models)


# An output that takes one model is full when it has one. The limit is all of them: where Postgres does not know the
# arrays it expects ten rows, and plans anew each time; of ten rows with a limit it expects one.
_KEEP = """
    INSERT INTO models (key, channel, owner, created_at, message, task_key, output, transient)
    SELECT key, channel, owner, CAST(:now AS timestamptz), message, task, output, transient
    FROM (SELECT key, channel, owner, message, task, output, transient, multiple, ordinal
          FROM unnest(CAST(:model_keys AS uuid[]), CAST(:model_channels AS text[]), CAST(:model_owners AS text[]),
                      CAST(:model_messages AS bytea[]), CAST(:model_tasks AS uuid[]), CAST(:model_outputs AS text[]),
                      CAST(:model_transients AS boolean[]), CAST(:model_multiples AS boolean[])) WITH ORDINALITY
               AS new (key, channel, owner, message, task, output, transient, multiple, ordinal)
          LIMIT cardinality(CAST(:model_keys AS uuid[]))) AS new
    WHERE multiple OR NOT EXISTS (SELECT FROM models AS other
                                  WHERE other.task_key = new.task AND other.output = new.output)
    ORDER BY ordinal
    ON CONFLICT (key) DO NOTHING RETURNING key
"""
_FILLED = statement("SELECT DISTINCT output FROM models WHERE task_key = :task")


def add(
    transaction: Transaction,
    task: pb.ComputeTask,
    function_outputs: Mapping[str, pb.FunctionOutput],
    new_models: Sequence[pb.NewModel],
) -> list[pb.Model]:
    """Keep valid models of a task that the transaction has locked; they are written with its events.

    Raises:
        OrchestratorError: the contract's error for an output that does not exist, is of another kind or is full.
    """
    if not new_models:
        return []
    outputs: list[str] = []
    added: list[pb.Model] = []
    for new in new_models:
        identifier = new.compute_task_output_identifier
        results.check_output(task, function_outputs, identifier, pb.ASSET_MODEL)
        if identifier in outputs and not function_outputs[identifier].multiple:
            raise _full(task, identifier)
        outputs.append(identifier)
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
    keys = [UUID(model.key) for model in added]
    multiples = [function_outputs[output].multiple for output in outputs]

    def check(kept: Sequence[Row]) -> None:
        missing = set(keys).difference(row.key for row in kept)
        if not missing and len(set(keys)) == len(keys):
            # Another's of the same call.
            return
        full = set(transaction.connection.execute(_FILLED, {"task": UUID(task.key)}).scalars())
        for key, output, multiple in zip(keys, outputs, multiples, strict=True):
            if key in missing and not multiple and output in full:
                raise _full(task, output)
        raise models.conflict([key for key in keys if key in missing])

    transaction.last(
        _KEEP,
        {
            "model_channels": [transaction.channel for _ in added],
            "model_owners": [task.worker for _ in added],
            "model_tasks": [UUID(task.key) for _ in added],
            "model_keys": keys,
            "model_messages": [model.SerializeToString() for model in added],
            "model_outputs": outputs,
            "model_transients": [task.outputs[output].transient for output in outputs],
            "model_multiples": multiples,
        },
        len(added),
        check,
    )
    for model, output in zip(added, outputs, strict=True):
        results.record(transaction, model, model.key, output)
    return added


def _full(task: pb.ComputeTask, output: str) -> ConflictError:
    return ConflictError(f"output {output!r} of task {task.key} has its model already")


def get(transaction: Transaction, wanted: pb.GetModelParam) -> pb.Model:
    """Return a model."""
    return models.get(transaction, parse_key(wanted.key))


def of_task(transaction: Transaction, wanted: pb.GetComputeTaskModelsParam) -> pb.GetComputeTaskModelsResponse:
    """List the models that a task made, in the order of their registration."""
    key = parse_key(wanted.compute_task_key, "compute_task_key")
    tasks.get(transaction, key)
    return pb.GetComputeTaskModelsResponse(models=[model for _, model in _of_tasks(transaction, [key])])


def by_output(
    transaction: Transaction, task_keys: Sequence[UUID], share: bool = False
) -> dict[tuple[str, str], list[pb.Model]]:
    """Return the models of several tasks by task key and output identifier, in the order of their registration.

    Args:
        transaction: of the caller.
        task_keys: which tasks.
        share: keep others from disabling them until the transaction ends.
    """
    found: dict[tuple[str, str], list[pb.Model]] = {}
    for output, model in _of_tasks(transaction, task_keys, _SHARED_OF_TASKS if share else _OF_TASKS):
        found.setdefault((model.compute_task_key, output), []).append(model)
    return found


_DISABLED = statement("SELECT task_key FROM models WHERE task_key = ANY(CAST(:tasks AS uuid[])) AND disabled")


def disabled_parents(transaction: Transaction, task_keys: Sequence[UUID]) -> set[str]:
    """Return the keys of those tasks that have a disabled model."""
    if not task_keys:
        return set()
    return set(map(str, transaction.connection.execute(_DISABLED, {"tasks": list(task_keys)}).scalars()))


_LOCK = statement("SELECT FROM models WHERE task_key = :task ORDER BY key FOR NO KEY UPDATE")


def lock(transaction: Transaction, task: UUID) -> None:
    """Keep others from giving the models of a task to new tasks until the transaction ends."""
    transaction.connection.execute(_LOCK, {"task": task})
    transaction.locked()


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


_OF_TASKS_IN_ORDER = """
    SELECT output, message FROM models
    WHERE task_key = ANY(CAST(:tasks AS uuid[])) AND channel = :channel ORDER BY position $LOCK
"""
_OF_TASKS = statement(_OF_TASKS_IN_ORDER, LOCK="")
_SHARED_OF_TASKS = statement(_OF_TASKS_IN_ORDER, LOCK="FOR SHARE")


def _of_tasks(
    transaction: Transaction, task_keys: Sequence[UUID], query: TextClause = _OF_TASKS
) -> list[tuple[str, pb.Model]]:
    rows = transaction.connection.execute(query, {"tasks": list(task_keys), "channel": transaction.channel})
    return [(row.output, pb.Model.FromString(row.message)) for row in rows]
