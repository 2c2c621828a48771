"""Executions: the runs of schemas, and what is reported of them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.core.kinds import CLINICAL_DATA_READ, EXECUTION
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import schemas, states
from orchestrator.executions.errors import FieldsError, WholeError
from orchestrator.executions.files import stored
from orchestrator.executions.lists import paging
from orchestrator.executions.lists.listing import Listing
from orchestrator.executions.lists.paging import Source
from orchestrator.executions.states import Answer, Status
from orchestrator.store import execution_tables
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

SORTABLE = ("schema", "created_at", "updated_at")
FILTERS = ("schema",)

_MOST = 2**63 - 1
_COLUMNS = "id, created_at, updated_at, status, definition, reason, results"

_INSERT = statement("""
    INSERT INTO executions (channel, schema, created_at, updated_at, status, definition)
    VALUES (:channel, :schema, :now, :now, :pending, :definition) RETURNING id
""")
_INSERT_PARTNERS = statement("""
    INSERT INTO execution_partners (execution, name, document)
    SELECT :id, name, document
    FROM unnest(CAST(:names AS text[]), CAST(:documents AS bytea[])) AS partner (name, document)
""")


def insert(transaction: Transaction, execution: pb.Execution, partners: Mapping[str, Any]) -> pb.Execution:
    """Keep a new execution of a schema whose deletion the transaction holds up; return it with its id.

    Args:
        transaction: of the caller.
        execution: without its id, its dates and its state.
        partners: data partner -> what was sent for it.
    """
    id_ = transaction.connection.execute(
        _INSERT,
        {
            "channel": transaction.channel,
            "schema": execution.schema,
            "now": transaction.now,
            "pending": states.PENDING,
            "definition": execution.SerializeToString(),
        },
    ).scalar_one()
    stored.note(transaction, files_of([execution]))
    if partners:
        documents = [json.dumps(given, ensure_ascii=False).encode() for given in partners.values()]
        transaction.connection.execute(_INSERT_PARTNERS, {"id": id_, "names": list(partners), "documents": documents})
    kept = pb.Execution()
    kept.CopyFrom(execution)
    kept.id, kept.status = id_, states.PENDING
    kept.created_at.FromDatetime(transaction.now)
    kept.updated_at.FromDatetime(transaction.now)
    transaction.events.own(pb.EVENT_ASSET_CREATED, str(id_), EXECUTION, kept)
    return kept


_GET = statement("SELECT $COLUMNS FROM executions WHERE id = :id AND channel = :channel", COLUMNS=_COLUMNS)


def get(transaction: Transaction, id_: int) -> pb.Execution:
    """Return an execution.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = None
    if id_ <= _MOST:
        parameters = {"id": id_, "channel": transaction.channel}
        row = transaction.connection.execute(_GET, parameters).one_or_none()
    if row is None:
        raise NotFoundError("Not found.")
    return _message(row)


_LISTED = Source(execution_tables.executions, _COLUMNS.split(", "), "id", ("definition", "reason", "results"))


def page(transaction: Transaction, asked: Listing) -> tuple[int, int, Iterator[pb.Execution]]:
    """Return how many executions a list has, the number of the page that is asked for, and what is on it.

    Raises:
        NoPageError: there is no such page.
        FieldsError: it is asked for those of a schema that is not there.
    """
    wanted = asked.filters.get("schema")
    if wanted and schemas.find(transaction, wanted) is None:
        raise FieldsError({"schema": ["Select a valid choice. That choice is not one of the available choices."]})
    found = paging.read(transaction, asked, _LISTED)
    return found.count, found.page, (_message(row) for row in found.rows)


_LOCK = statement("SELECT FROM executions WHERE id = :id AND channel = :channel FOR NO KEY UPDATE")
_MOVE = statement(
    """
    UPDATE executions
    SET status = :status, updated_at = greatest(CAST(:now AS timestamptz), updated_at), reason = :reason,
        results = :results
    WHERE id = :id AND channel = :channel AND status = ANY(CAST(:sources AS smallint[]))
    RETURNING $COLUMNS
    """,
    COLUMNS=_COLUMNS,
)


def report(
    transaction: Transaction,
    id_: int,
    reported: Status,
    reason: str | None = None,
    results: pb.ExecutionResults | None = None,
) -> pb.Execution:
    """Move an execution to a reported state by one compare-and-set; return it as it is then.

    Args:
        transaction: of the caller.
        id_: which.
        reported: the state.
        reason: why it has failed.
        results: what it has made.

    Raises:
        NotFoundError: there is none with this id.
        WholeError: the state that it is in does not allow it.
    """
    _lock(transaction, id_)
    row = transaction.connection.execute(
        _MOVE,
        {
            "id": id_,
            "channel": transaction.channel,
            "status": reported,
            "now": transaction.now,
            "reason": reason,
            "results": None if results is None else results.SerializeToString(),
            "sources": states.sources(reported),
        },
    ).one_or_none()
    if row is not None:
        moved = _message(row)
        transaction.events.own(pb.EVENT_ASSET_UPDATED, str(id_), EXECUTION, moved)
        return moved
    current = get(transaction, id_)
    if states.answer(current.status, reported) is Answer.REFUSED:
        raise WholeError(f'no update possible, the current status is "{states.WORDS[current.status]}"')
    return current


def fail(transaction: Transaction, id_: int, reason: str, sources: Sequence[Status]) -> bool:
    """Make an execution failed that is in one of some states, for a reason of our own; return whether it was.

    Args:
        transaction: of whoever has found it out.
        id_: which.
        reason: why it has failed, for people.
        sources: the states.
    """
    _lock(transaction, id_)
    parameters = {"id": id_, "channel": transaction.channel, "status": states.FAILED, "now": transaction.now}
    row = transaction.connection.execute(
        _MOVE, {**parameters, "reason": reason, "results": None, "sources": list(sources)}
    ).one_or_none()
    if row is not None:
        transaction.events.own(pb.EVENT_ASSET_UPDATED, str(id_), EXECUTION, _message(row))
    return row is not None


def _lock(transaction: Transaction, id_: int) -> None:
    transaction.connection.execute(_LOCK, {"id": id_, "channel": transaction.channel})
    transaction.locked()


_PARTNER = statement("SELECT document FROM execution_partners WHERE execution = :id AND name = :name")


def partner(transaction: Transaction, execution: pb.Execution, name: str) -> bytes | None:
    """Return as JSON what was sent for a data partner, None where it does not take part; that it was read is told."""
    if "\0" in name:
        # Postgres keeps no text that has one.
        return None
    document: bytes | None = transaction.connection.execute(
        _PARTNER, {"id": execution.id, "name": name}
    ).scalar_one_or_none()
    if document is not None:
        read(transaction, pb.ClinicalDataRead(execution=execution.id, data_partner=name))
    return document


def read(transaction: Transaction, what: pb.ClinicalDataRead) -> None:
    """Tell that clinical data were read."""
    transaction.events.own(pb.EVENT_ASSET_CREATED, str(what.execution), CLINICAL_DATA_READ, what)


_DELETE = statement(
    """
    WITH gone AS (
             DELETE FROM executions WHERE channel = :channel AND (id = :id OR schema = :schema) RETURNING $COLUMNS
         ),
         partner AS (DELETE FROM execution_partners USING gone WHERE execution = gone.id),
         run AS (DELETE FROM execution_runs USING gone WHERE execution = gone.id),
         work AS (DELETE FROM execution_works USING gone WHERE execution = gone.id),
         task_run AS (DELETE FROM task_runs USING gone WHERE execution = gone.id RETURNING plan),
         gang AS (DELETE FROM gangs USING task_run WHERE gangs.plan = task_run.plan)
    SELECT $COLUMNS FROM gone ORDER BY id
    """,
    COLUMNS=_COLUMNS,
)


def delete(transaction: Transaction, id_: int) -> pb.Execution:
    """Delete an execution, and return it.

    Raises:
        NotFoundError: there is none with this id.
    """
    gone = _deleted(transaction, id_=id_) if id_ <= _MOST else []
    if not gone:
        raise NotFoundError("Not found.")
    return gone[0]


def delete_of_schema(transaction: Transaction, schema: str) -> list[pb.Execution]:
    """Delete all executions of a schema, and return them."""
    return _deleted(transaction, schema=schema)


def _deleted(transaction: Transaction, id_: int | None = None, schema: str | None = None) -> list[pb.Execution]:
    parameters = {"channel": transaction.channel, "id": id_, "schema": schema}
    gone = [_message(row) for row in transaction.connection.execute(_DELETE, parameters)]
    transaction.locked()
    stored.forget(transaction, files_of(gone))
    for execution in gone:
        transaction.events.own(pb.EVENT_ASSET_DISABLED, str(execution.id), EXECUTION, execution)
    return gone


def files_of(executions: Iterable[pb.Execution]) -> Sequence[pb.StoredFile]:
    """Return the files that belong to executions."""
    found: list[pb.StoredFile] = []
    for execution in executions:
        found += [execution.external_data, execution.report_metadata, *(each.user_vars for each in execution.engines)]
    return [file for file in found if file.key]


def _message(row: Row) -> pb.Execution:
    execution = pb.Execution.FromString(row.definition)
    execution.id, execution.status, execution.message = row.id, row.status, row.reason or ""
    execution.created_at.FromDatetime(row.created_at)
    execution.updated_at.FromDatetime(row.updated_at)
    if row.results is not None:
        execution.results.ParseFromString(row.results)
    return execution
