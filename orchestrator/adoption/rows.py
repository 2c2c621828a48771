"""The rows of what was adopted: written as if it had been registered here, when it was registered there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.adoption import batch
from orchestrator.adoption.batch import Batch, Run
from orchestrator.compute import tasks
from orchestrator.core import pokes
from orchestrator.core.errors import ConflictError
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import adopted


def write(transaction: Transaction, found: Batch) -> None:
    """Keep what a batch of events tells, and the events.

    Raises:
        ConflictError: a key is taken by an asset of another channel.
    """
    if not found.events:
        return
    _write_assets(transaction, found)
    _write_tasks(transaction, found)
    _write_models(transaction, found)
    adopted.keep(transaction.connection, transaction.channel, found.events, found.times)


_ORGANIZATION = statement("""
    INSERT INTO organizations (channel, id, created_at, message) VALUES (:channel, :key, :created_at, :message)
    ON CONFLICT (channel, id) DO UPDATE SET message = excluded.message
""")
_ASSET = """
    INSERT INTO $TABLE (key, channel, owner, created_at, message$NAMES)
    VALUES (:key, :channel, :owner, :created_at, :message$VALUES)
    ON CONFLICT (key) DO UPDATE SET message = excluded.message$CHANGES
    WHERE $TABLE.channel = excluded.channel AND $TABLE.owner = excluded.owner
"""


def _asset(table: str, *columns: str) -> TextClause:
    return statement(
        _ASSET,
        TABLE=table,
        NAMES="".join(f", {column}" for column in columns),
        VALUES="".join(f", :{column}" for column in columns),
        CHANGES="".join(f", {column} = excluded.{column}" for column in columns),
    )


_FUNCTION, _DATA_MANAGER = _asset("functions", "status"), _asset("data_managers")
_DATA_SAMPLE, _PLAN = _asset("data_samples", "manager_keys"), _asset("compute_plans")
_LATCH = statement(
    """
    INSERT INTO plans (key, kind, channel, owner, ended_at, outcome)
    VALUES (:key, '$KIND', :channel, :owner, :ended_at, :outcome)
    ON CONFLICT (key) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome
    WHERE plans.channel = excluded.channel
    """,
    KIND=tasks.KIND,
)
_PERFORMANCE = statement("""
    INSERT INTO performances (task_key, output, channel, created_at, value)
    VALUES (:task, :output, :channel, :created_at, :value) ON CONFLICT (task_key, output) DO NOTHING
""")
_REPORT = statement("""
    INSERT INTO failure_reports (asset_key, channel, created_at, message)
    VALUES (:key, :channel, :created_at, :message) ON CONFLICT (asset_key) DO NOTHING
""")


def _write_assets(transaction: Transaction, found: Batch) -> None:
    def keep(query: TextClause, kind: "pb.AssetKind.ValueType", columns: Any = lambda _: {}) -> None:
        rows = [
            _row(transaction.channel, key, asset) | columns(asset) for key, asset in found.newest.get(kind, {}).items()
        ]
        if rows and transaction.connection.execute(query, rows).rowcount < len(rows):
            taken = ", ".join(str(row["key"]) for row in rows[:3])
            raise ConflictError(f"one of the keys {taken}, … is taken here by an asset of another channel or owner")

    keep(_ORGANIZATION, pb.ASSET_ORGANIZATION, lambda asset: {"key": asset.id})
    keep(_FUNCTION, pb.ASSET_FUNCTION, lambda asset: {"status": asset.status})
    keep(_DATA_MANAGER, pb.ASSET_DATA_MANAGER)
    keep(_DATA_SAMPLE, pb.ASSET_DATA_SAMPLE, lambda asset: {"manager_keys": _uuids(asset.data_manager_keys)})
    keep(_PLAN, pb.ASSET_COMPUTE_PLAN)
    keep(_LATCH, pb.ASSET_COMPUTE_PLAN, _end)
    for query, kind in ((_PERFORMANCE, pb.ASSET_PERFORMANCE), (_REPORT, pb.ASSET_FAILURE_REPORT)):
        new = [_row(transaction.channel, key, asset) for key, asset in found.newest.get(kind, {}).items()]
        if new:
            transaction.connection.execute(query, new)


def _row(channel: str, key: str, asset: Any) -> dict[str, Any]:
    row = {"channel": channel, "created_at": _date(asset), "message": asset.SerializeToString()}
    match asset:
        case pb.Organization():
            return row | {"key": asset.id}
        case pb.Performance():
            output = asset.compute_task_output_identifier
            return row | {"task": UUID(asset.compute_task_key), "output": output, "value": asset.performance_value}
        case pb.FailureReport():
            return row | {"key": UUID(asset.asset_key)}
    return row | {"key": UUID(key), "owner": asset.owner}


def _date(asset: Any) -> datetime:
    moment: datetime = asset.creation_date.ToDatetime(UTC)
    return moment


def _end(plan: Any) -> dict[str, Any]:
    """Return how a compute plan has ended; the first of its two dates is what counts."""
    ends = [
        (getattr(plan, name).ToDatetime(UTC), outcome)
        for name, outcome in (("cancelation_date", pb.STATUS_CANCELED), ("failure_date", pb.STATUS_FAILED))
        if plan.HasField(name)
    ]
    ended_at, outcome = min(ends) if ends else (None, None)
    return {"ended_at": ended_at, "outcome": outcome}


def _uuids(keys: Iterable[str]) -> list[UUID]:
    return [UUID(key) for key in keys]


_TASK = statement(
    """
    WITH edge AS (
             INSERT INTO edges (parent, child)
             SELECT parent, child
             FROM unnest(CAST(:parents AS uuid[]), CAST(:children AS uuid[])) AS edge (parent, child)
         ),
         state AS (
             INSERT INTO task_states (key, plan_key, status, pending_parents)
             SELECT key, plan_key, 0, 0
             FROM unnest(CAST(:keys AS uuid[]), CAST(:plans AS uuid[])) AS task (key, plan_key)
         )
    INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue, rank)
    SELECT key, :channel, owner, created_at, message, '$KIND', plan_key, requires, worker, queue, rank
    FROM unnest(CAST(:keys AS uuid[]), CAST(:owners AS text[]), CAST(:times AS timestamptz[]),
                CAST(:messages AS bytea[]), CAST(:plans AS uuid[]), CAST(:functions AS uuid[]),
                CAST(:workers AS text[]), CAST(:queues AS text[]), CAST(:ranks AS int[]))
         AS task (key, owner, created_at, message, plan_key, requires, worker, queue, rank)
    """,
    KIND=tasks.KIND,
)
_STATES = statement("""
    SELECT task_states.key, status, attempts FROM task_states JOIN tasks USING (key)
    WHERE tasks.key = ANY(CAST(:keys AS uuid[])) AND channel = :channel FOR NO KEY UPDATE OF task_states
""")
_MOVE = statement("""
    UPDATE task_states SET status = moved.status, attempts = moved.attempts
    FROM unnest(CAST(:keys AS uuid[]), CAST(:statuses AS smallint[]), CAST(:attempts AS int[]))
         AS moved (key, status, attempts)
    WHERE task_states.key = moved.key
""")
_RUN = statement("""
    WITH unsettled_attempt AS (INSERT INTO unsettled (task_key, number) VALUES (:task, :number))
    INSERT INTO attempts (task_key, number, claimed_at, ended_at, outcome)
    VALUES (:task, :number, :began, :ended, :outcome)
""")
_RAN = statement(
    "UPDATE attempts SET ended_at = :ended, outcome = :outcome WHERE task_key = :task AND number = :number"
)
_COUNT_PARENTS = statement("""
    WITH asked AS (
             SELECT unnest(CAST(:new AS uuid[])) AS key
             UNION SELECT child FROM edges WHERE parent = ANY(CAST(:moved AS uuid[]))
         ),
         counted AS (
             SELECT asked.key, count(above.key) FILTER (WHERE above.status <> $DONE) AS pending
             FROM asked LEFT JOIN edges ON child = asked.key LEFT JOIN task_states AS above ON above.key = parent
             GROUP BY asked.key
         )
    UPDATE task_states SET pending_parents = counted.pending
    FROM counted WHERE task_states.key = counted.key AND pending_parents <> counted.pending
""")


def _write_tasks(transaction: Transaction, found: Batch) -> None:
    new, connection = list(found.created.values()), transaction.connection
    if new:
        edges = [(parent, task.key) for task in new for parent in _parents(task)]
        connection.execute(
            _TASK,
            {
                "channel": transaction.channel,
                "keys": _uuids(task.key for task in new),
                "owners": [task.owner for task in new],
                "times": [_date(task) for task in new],
                "messages": [_definition(task) for task in new],
                "plans": _uuids(task.compute_plan_key for task in new),
                "functions": _uuids(task.function_key for task in new),
                "workers": [task.worker for task in new],
                "queues": [pokes.queue(task.worker) for task in new],
                "ranks": [task.rank for task in new],
                "parents": _uuids(parent for parent, _ in edges),
                "children": _uuids(child for _, child in edges),
            },
        )
    if not found.moves:
        return
    asked = {"keys": _uuids(found.moves), "channel": transaction.channel}
    before = {str(row.key): row for row in connection.execute(_STATES, asked)}
    if missing := found.moves.keys() - before.keys():
        raise ConflictError(f"task {min(missing)} has moved, and no event told of its registration in this channel")
    ran = {key: batch.runs(before[key].status, before[key].attempts, moves) for key, moves in found.moves.items()}
    connection.execute(
        _MOVE,
        {
            "keys": _uuids(found.moves),
            "statuses": [moves[-1].status for moves in found.moves.values()],
            "attempts": [max([before[key].attempts, *(run.number for run in ran[key])]) for key in found.moves],
        },
    )
    _write_runs(transaction, ran)
    connection.execute(_COUNT_PARENTS, {"new": _uuids(found.created), "moved": _uuids(found.moves)})


def _write_runs(transaction: Transaction, ran: Mapping[str, Iterable[Run]]) -> None:
    rows = [
        {"task": UUID(key), "number": run.number, "began": run.began, "ended": run.ended, "outcome": run.outcome}
        for key, found in ran.items()
        for run in found
    ]
    for query, some in (
        (_RUN, [row for row in rows if row["began"] is not None]),
        (_RAN, [row for row in rows if row["began"] is None]),
    ):
        if some:
            transaction.connection.execute(query, some)


def _parents(task: pb.ComputeTask) -> list[str]:
    """Return the keys of a task's parents, each once."""
    given = (each.parent_task_output.parent_task_key for each in task.inputs if each.HasField("parent_task_output"))
    return list(dict.fromkeys(given))


def _definition(task: pb.ComputeTask) -> bytes:
    definition = pb.ComputeTask()
    definition.CopyFrom(task)
    definition.ClearField("status")
    return definition.SerializeToString()


_MODEL = statement("""
    INSERT INTO models (key, channel, owner, created_at, message, task_key, output, transient, disabled)
    VALUES (:key, :channel, :owner, :created_at, :message, :task, '', false, :disabled)
    ON CONFLICT (key) DO UPDATE SET message = excluded.message, disabled = excluded.disabled
    WHERE models.channel = excluded.channel
""")
_OUTPUT = statement("UPDATE models SET output = :output, transient = :transient WHERE key = :model")


def _write_models(transaction: Transaction, found: Batch) -> None:
    models: Mapping[str, Message] = found.newest.get(pb.ASSET_MODEL, {})
    rows = [_model(transaction.channel, model) for model in models.values()]
    if rows and transaction.connection.execute(_MODEL, rows).rowcount < len(rows):
        raise ConflictError("the key of a model is taken here by one of another channel")
    producers = tasks.get_many(transaction, _uuids({filled.compute_task_key for filled in found.outputs.values()}))
    filled = [
        {"model": UUID(key), "output": each.compute_task_output_identifier, "transient": output.transient}
        for key, each in found.outputs.items()
        for output in [producers[each.compute_task_key].outputs[each.compute_task_output_identifier]]
    ]
    if filled:
        transaction.connection.execute(_OUTPUT, filled)


def _model(channel: str, model: Any) -> dict[str, Any]:
    row = _row(channel, model.key, model)
    return row | {"task": UUID(model.compute_task_key), "disabled": not model.HasField("address")}
