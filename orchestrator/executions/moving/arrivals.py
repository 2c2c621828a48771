"""Rows of schemas and executions that come from elsewhere: with the ids, the states and the dates that they have."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator import protos as pb
from orchestrator.core.kinds import EXECUTION, WORKFLOW_SCHEMA
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, schemas, states
from orchestrator.executions.files import stored
from orchestrator.executions.runtimes import adapters
from orchestrator.store.statements import statement

_SCHEMA = statement("""
    INSERT INTO schemas (channel, name, type, implementation, created_at, message)
    VALUES (:channel, :name, :type, :implementation, :created_at, :message)
    ON CONFLICT DO NOTHING RETURNING name
""")
_EXECUTION = statement("""
    WITH adapter AS (
             INSERT INTO communication_adapters (adapter, channel, execution, worker)
             SELECT :adapter, :channel, :id, :organization WHERE :adapter <> '' ON CONFLICT DO NOTHING
         )
    INSERT INTO executions (id, channel, schema, created_at, updated_at, status, definition, reason, results)
    OVERRIDING SYSTEM VALUE
    VALUES (:id, :channel, :schema, :created_at, :updated_at, :status, :definition, :reason, :results)
    ON CONFLICT DO NOTHING RETURNING id
""")
_PARTNERS = statement("""
    INSERT INTO execution_partners (execution, name, document)
    SELECT :id, name, document
    FROM unnest(CAST(:names AS text[]), CAST(:documents AS bytea[])) AS partner (name, document)
""")


def schema(transaction: Transaction, arrived: pb.WorkflowSchema) -> bool:
    """Keep a schema with its file, and say whether it is: another call may have taken its name."""
    parameters = {
        "channel": transaction.channel,
        "name": arrived.name,
        "type": arrived.type,
        "implementation": arrived.implementation,
        "created_at": arrived.created_at.ToDatetime(UTC),
        "message": arrived.SerializeToString(),
    }
    if transaction.connection.execute(_SCHEMA, parameters).scalar_one_or_none() is None:
        return False
    stored.note(transaction, [arrived.auxiliary_file])
    transaction.events.own(pb.EVENT_ASSET_CREATED, arrived.name, WORKFLOW_SCHEMA, arrived)
    return True


def execution(transaction: Transaction, arrived: pb.Execution, documents: Mapping[str, Any]) -> bool:
    """Keep an execution with its files; nothing is started for it.

    Args:
        transaction: of the organization whose runtimes will clean up its topics.
        arrived: as it was shown.
        documents: data partner -> what was sent for it.

    Returns:
        Whether it is kept: its schema may be gone, or its id be taken.
    """
    if schemas.find(transaction, arrived.schema, share=True) is None:
        return False
    parameters = {
        "id": arrived.id,
        "channel": transaction.channel,
        "organization": transaction.organization,
        "schema": arrived.schema,
        "created_at": arrived.created_at.ToDatetime(UTC),
        "adapter": adapters.name(arrived) if arrived.number_iterations else "",
        "definition": _definition(arrived).SerializeToString(),
        **_state(arrived),
    }
    if transaction.connection.execute(_EXECUTION, parameters).scalar_one_or_none() is None:
        return False
    if documents:
        kept = [json.dumps(document, ensure_ascii=False).encode() for document in documents.values()]
        transaction.connection.execute(_PARTNERS, {"id": arrived.id, "names": list(documents), "documents": kept})
    stored.note(transaction, executions.files_of([arrived]))
    transaction.events.own(pb.EVENT_ASSET_CREATED, str(arrived.id), EXECUTION, arrived)
    return True


def _definition(arrived: pb.Execution) -> pb.Execution:
    """Return what of an execution never changes."""
    definition = pb.Execution()
    definition.CopyFrom(arrived)
    for name in ("id", "created_at", "updated_at", "status", "message", "results"):
        definition.ClearField(name)
    return definition


def _state(arrived: pb.Execution) -> dict[str, Any]:
    return {
        "updated_at": arrived.updated_at.ToDatetime(UTC),
        "status": arrived.status,
        "reason": arrived.message or None,
        "results": arrived.results.SerializeToString() if arrived.status == states.SUCCEEDED else None,
    }


_MOVE = statement("""
    UPDATE executions
    SET status = :status, updated_at = greatest(CAST(:updated_at AS timestamptz), updated_at), reason = :reason,
        results = :results
    WHERE id = :id AND channel = :channel AND status = ANY(CAST(:sources AS smallint[])) RETURNING id
""")


def move(transaction: Transaction, arrived: pb.Execution) -> bool:
    """Move an execution that came earlier to the state that it has there; say whether it was not in it, or past it."""
    sources = states.sources(arrived.status) if arrived.status != states.PENDING else []
    parameters = {"id": arrived.id, "channel": transaction.channel, "sources": sources, **_state(arrived)}
    if transaction.connection.execute(_MOVE, parameters).scalar_one_or_none() is None:
        return False
    moved = executions.get(transaction, arrived.id)
    transaction.events.own(pb.EVENT_ASSET_UPDATED, str(arrived.id), EXECUTION, moved)
    return True


_SCHEMAS = statement(
    "SELECT name, created_at FROM schemas WHERE channel = :channel AND name = ANY(CAST(:names AS text[]))"
)
_EXECUTIONS = statement("""
    SELECT id, CASE WHEN channel = :channel THEN created_at END AS created_at
    FROM executions WHERE id = ANY(CAST(:ids AS bigint[]))
""")


def known_schemas(transaction: Transaction, names: Collection[str]) -> dict[str, datetime]:
    """Return the schemas that there are of some names, and when they were made."""
    found = transaction.connection.execute(_SCHEMAS, {"channel": transaction.channel, "names": list(names)})
    return {row.name: row.created_at for row in found}


def known_executions(transaction: Transaction, ids: Collection[int]) -> dict[int, datetime | None]:
    """Return the executions that there are of some ids, and when they were made; None for another channel's."""
    found = transaction.connection.execute(_EXECUTIONS, {"channel": transaction.channel, "ids": list(ids)})
    return {row.id: row.created_at for row in found}


# Where it was not used yet, its last value is the one that comes next.
_RAISE = statement("""
    SELECT setval('executions_id_seq', :id) FROM executions_id_seq WHERE last_value < :id OR NOT is_called
""")


def go_on_after(transaction: Transaction, id_: int) -> None:
    """Have new executions get ids above one; that counts at once, whether the transaction commits or not."""
    transaction.connection.execute(_RAISE, {"id": id_}).scalar_one_or_none()
