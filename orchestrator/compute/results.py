"""What a task made: the rules that models and performances share."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import tasks
from orchestrator.compute.assets import functions
from orchestrator.core import states
from orchestrator.core.errors import (
    BadRequestError,
    IncompatibleKindError,
    IncompatibleStatusError,
    MissingOutputError,
    NotFoundError,
)
from orchestrator.engine.tasks import RETURNED, check_worker, of_rows
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_PRODUCING = statement(
    """
    SELECT $RETURNED, token_hash IS NOT NULL AS by_attempt, functions.message AS function
    FROM tasks JOIN task_states USING (key) JOIN functions ON functions.key = requires
    WHERE tasks.key = :key AND tasks.channel = :channel AND kind = '$KIND' FOR NO KEY UPDATE OF task_states
    """,
    RETURNED=RETURNED,
    KIND=tasks.KIND,
)


def producing_task(transaction: Transaction, key: UUID) -> tuple[pb.ComputeTask, pb.Function]:
    """Return the task that the caller runs without an attempt, locked, so that it can register results for it.

    Returns:
        The task, and its function.

    Raises:
        NotFoundError: the channel has none with this key.
        PermissionDeniedError: the caller is not its worker.
        BadRequestError: it is not Doing.
        IncompatibleStatusError: an attempt runs it, and reports its results when it completes.
    """
    row = transaction.connection.execute(_PRODUCING, {"key": key, "channel": transaction.channel}).one_or_none()
    if row is None:
        raise NotFoundError(f"task {key} does not exist")
    transaction.locked()
    task = tasks.to_message(of_rows([row])[0])
    check_worker(transaction, task)
    if task.status != pb.STATUS_EXECUTING:
        raise not_doing(task)
    if row.by_attempt:
        raise IncompatibleStatusError(
            f"task {task.key} is run by a claimed attempt; its results come with CompleteTask"
        )
    return task, pb.Function.FromString(row.function)


# Where the task has a model already, whoever waits for a turn of its own is told what there is to say of it.
_FREE = statement(
    """
    WITH asked AS MATERIALIZED (
             SELECT key, organization, channel
             FROM unnest(CAST(:keys AS uuid[]), CAST(:organizations AS text[]), CAST(:channels AS text[]))
                  AS each (key, organization, channel)
             LIMIT cardinality(CAST(:keys AS uuid[]))
         )
    SELECT $RETURNED FROM asked JOIN tasks USING (key, channel) JOIN task_states USING (key)
    WHERE kind = '$KIND' AND worker = organization AND status = $DOING AND token_hash IS NULL
      AND NOT EXISTS (SELECT FROM models WHERE task_key = task_states.key)
    ORDER BY task_states.key FOR NO KEY UPDATE OF task_states SKIP LOCKED
    """,
    RETURNED=RETURNED,
    KIND=tasks.KIND,
)


def producing_tasks(asked: Sequence[tuple[Transaction, UUID]]) -> dict[UUID, pb.ComputeTask]:
    """Return those of many tasks that their callers run without an attempt, locked, as `producing_task` does each.

    Those that have a model already are left, and those that somebody else has locked.

    Args:
        asked: each another task, with the transaction of its call; all on one connection.
    """
    if not asked:
        return {}
    rows = asked[0][0].connection.execute(
        _FREE,
        {
            "keys": [key for _, key in asked],
            "organizations": [transaction.organization for transaction, _ in asked],
            "channels": [transaction.channel for transaction, _ in asked],
        },
    )
    found = {task.key: tasks.to_message(task) for task in of_rows(rows)}
    asked[0][0].locked_with(transaction for transaction, _ in asked)
    return found


def not_doing(task: pb.ComputeTask) -> BadRequestError:
    """Return why a task takes no results."""
    return BadRequestError(f"task {task.key} is {states.TASK_WORDS[task.status]}, not Doing")


def function_of(transaction: Transaction, task: pb.ComputeTask) -> pb.Function:
    """Return the function of a task: of those of one call it is read once."""
    key = UUID(task.function_key)
    if key not in transaction.read:
        transaction.read[key] = functions.get(transaction, key)
    found: pb.Function = transaction.read[key]
    return found


def check_output(
    task: pb.ComputeTask,
    function_outputs: Mapping[str, pb.FunctionOutput],
    identifier: str,
    kind: "pb.AssetKind.ValueType",
) -> None:
    """Check that a task has an output, and of which kind.

    Args:
        task: which one.
        function_outputs: what its function says of its outputs.
        identifier: of the output.
        kind: of what is to fill it.

    Raises:
        MissingOutputError: it has none of this name.
        IncompatibleKindError: it takes another kind of asset.
    """
    if identifier not in task.outputs:
        raise MissingOutputError(f"task {task.key} has no output {identifier!r}")
    if function_outputs[identifier].kind != kind:
        wanted = pb.AssetKind.Name(function_outputs[identifier].kind)
        raise IncompatibleKindError(f"output {identifier!r} of task {task.key} takes a {wanted}")


def record(transaction: Transaction, asset: pb.Model | pb.Performance, key: str, identifier: str) -> None:
    """Tell of a new asset, and of the output that it fills."""
    transaction.events.created(key, asset)
    kind = pb.ASSET_MODEL if isinstance(asset, pb.Model) else pb.ASSET_PERFORMANCE
    filled = pb.ComputeTaskOutputAsset(
        compute_task_key=asset.compute_task_key,
        compute_task_output_identifier=identifier,
        asset_kind=kind,
        asset_key=key,
    )
    transaction.events.created(asset.compute_task_key, filled)
