"""Assets that another server has registered: kept as if that had been here, at the time when it was there."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.compute import tasks
from orchestrator.core import pokes
from orchestrator.core.errors import ConflictError
from orchestrator.engine.outbox import written
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

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


_ORGANIZATION = statement("""
    INSERT INTO organizations (channel, id, created_at, message) VALUES (:channel, :id, :created_at, :message)
    ON CONFLICT (channel, id) DO UPDATE SET message = excluded.message
""")
_MODEL = statement("""
    INSERT INTO models (key, channel, owner, created_at, message, task_key, output, transient, disabled)
    VALUES (:key, :channel, :owner, :created_at, :message, :task, '', false, :disabled)
    ON CONFLICT (key) DO UPDATE SET message = excluded.message, disabled = excluded.disabled
    WHERE models.channel = excluded.channel
""")
_PERFORMANCE = statement("""
    INSERT INTO performances (task_key, output, channel, created_at, value)
    VALUES (:task, :output, :channel, :created_at, :value) ON CONFLICT (task_key, output) DO NOTHING
""")
_REPORT = statement("""
    INSERT INTO failure_reports (asset_key, channel, created_at, message)
    VALUES (:key, :channel, :created_at, :message) ON CONFLICT (asset_key) DO NOTHING
""")


def _owned(asset: Any) -> dict[str, Any]:
    return {"key": UUID(asset.key), "owner": asset.owner, "message": asset.SerializeToString()}


# How those of a kind are written, with which parameters, and whether each must be: a result that is there stays.
_KINDS: Mapping["pb.AssetKind.ValueType", tuple[TextClause, Callable[[Any], dict[str, Any]], bool]] = {
    pb.ASSET_ORGANIZATION: (
        _ORGANIZATION,
        lambda asset: {"id": asset.id, "message": asset.SerializeToString()},
        True,
    ),
    pb.ASSET_FUNCTION: (_asset("functions", "status"), lambda asset: {**_owned(asset), "status": asset.status}, True),
    pb.ASSET_DATA_MANAGER: (_asset("data_managers"), _owned, True),
    pb.ASSET_DATA_SAMPLE: (
        _asset("data_samples", "manager_keys"),
        lambda asset: {**_owned(asset), "manager_keys": [UUID(key) for key in asset.data_manager_keys]},
        True,
    ),
    pb.ASSET_COMPUTE_PLAN: (_asset("compute_plans"), _owned, True),
    pb.ASSET_MODEL: (
        _MODEL,
        lambda asset: {
            **_owned(asset),
            "task": UUID(asset.compute_task_key),
            "disabled": not asset.HasField("address"),
        },
        True,
    ),
    pb.ASSET_PERFORMANCE: (
        _PERFORMANCE,
        lambda asset: {
            "task": UUID(asset.compute_task_key),
            "output": asset.compute_task_output_identifier,
            "value": asset.performance_value,
        },
        False,
    ),
    pb.ASSET_FAILURE_REPORT: (
        _REPORT,
        lambda asset: {"key": UUID(asset.asset_key), "message": asset.SerializeToString()},
        False,
    ),
}


def keep(transaction: Transaction, kind: "pb.AssetKind.ValueType", assets: Collection[Any]) -> None:
    """Keep assets of a kind that are one row each, or what has become of them.

    Which output of its task a model is, says `fill`.

    Raises:
        ConflictError: a key is taken by an asset of another channel, or of another owner.
    """
    query, columns, each_must = _KINDS[kind]
    rows = [{"channel": transaction.channel, "created_at": created_at(asset), **columns(asset)} for asset in assets]
    if rows and transaction.connection.execute(query, rows).rowcount < len(rows) and each_must:
        taken = ", ".join(str(row.get("key", row.get("id"))) for row in rows[:3])
        raise ConflictError(f"one of the keys {taken}, … is taken here by an asset of another channel or owner")


def created_at(asset: Any) -> datetime:
    """Return when an asset was registered."""
    moment: datetime = asset.creation_date.ToDatetime(UTC)
    return moment


_OUTPUT = statement("UPDATE models SET output = :output, transient = :transient WHERE key = :model")


def fill(transaction: Transaction, outputs: Mapping[str, pb.ComputeTaskOutputAsset]) -> None:
    """Note which outputs of their tasks, which are there, models are; given by the keys of the models."""
    producers = tasks.get_many(transaction, {UUID(filled.compute_task_key) for filled in outputs.values()})
    rows = [
        {"model": UUID(key), "output": filled.compute_task_output_identifier, "transient": output.transient}
        for key, filled in outputs.items()
        for output in [producers[filled.compute_task_key].outputs[filled.compute_task_output_identifier]]
    ]
    if rows:
        transaction.connection.execute(_OUTPUT, rows)


_POKE = statement(
    """
    WITH due AS (
             UPDATE functions SET poked_at = :now
             WHERE channel = :channel AND status IN ($UNBUILT) AND poked_at IS NULL
             RETURNING key, owner
         ),
         $POKE
    SELECT count(*) FROM poke
    """,
    POKE=written("""
        SELECT '$BUILD_FUNCTION', CAST(:prefix AS text) || owner, CAST(0 AS smallint), key, 1,
               CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM due
    """),
    BUILD_FUNCTION=pokes.BUILD_FUNCTION,
)


def poke(transaction: Transaction) -> int:
    """Poke for each function of the channel that is to be built and was not poked for; return how many there are."""
    asked = {"channel": transaction.channel, "now": transaction.now, "prefix": pokes.queue("")}
    found: int = transaction.connection.execute(_POKE, asked).scalar_one()
    return found
