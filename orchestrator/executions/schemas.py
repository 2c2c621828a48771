"""Schemas: the stored workflow templates."""

from collections.abc import Iterator

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.core.kinds import WORKFLOW_SCHEMA
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.files import stored
from orchestrator.executions.forms import schema_form
from orchestrator.executions.lists import paging
from orchestrator.executions.lists.listing import Listing
from orchestrator.executions.lists.paging import Source
from orchestrator.store import execution_tables
from orchestrator.store.statements import statement

SORTABLE = ("name", "type", "implementation", "created_at")
FILTERS = ("name", "type", "implementation")
CHOICES = {"type": schema_form.TYPES, "implementation": schema_form.IMPLEMENTATIONS}

_INSERT = statement("""
    INSERT INTO schemas (channel, name, type, implementation, created_at, message)
    VALUES (:channel, :name, :type, :implementation, :now, :message)
    ON CONFLICT DO NOTHING RETURNING name
""")


def insert(transaction: Transaction, schema: pb.WorkflowSchema) -> None:
    """Keep a new schema.

    Raises:
        FieldsError: its name is taken.
    """
    schema.created_at.FromDatetime(transaction.now)
    kept = transaction.connection.execute(
        _INSERT,
        {
            "channel": transaction.channel,
            "name": schema.name,
            "type": schema.type,
            "implementation": schema.implementation,
            "now": transaction.now,
            "message": schema.SerializeToString(),
        },
    ).scalar_one_or_none()
    if kept is None:
        raise schema_form.taken()
    stored.note(transaction, [schema.auxiliary_file])
    transaction.events.own(pb.EVENT_ASSET_CREATED, schema.name, WORKFLOW_SCHEMA, schema)


_GET = "SELECT message FROM schemas WHERE channel = :channel AND name = :name $LOCK"
_READ = statement(_GET, LOCK="")
_SHARE = statement(_GET, LOCK="FOR KEY SHARE")
_DELETE = statement("DELETE FROM schemas WHERE channel = :channel AND name = :name RETURNING message")


def find(transaction: Transaction, name: str, share: bool = False) -> pb.WorkflowSchema | None:
    """Return a schema, None where there is none.

    Args:
        transaction: of the caller.
        name: of the schema.
        share: keep others from deleting it until the transaction ends.
    """
    if "\0" in name:
        # Postgres keeps no text that has one.
        return None
    parameters = {"channel": transaction.channel, "name": name}
    row = transaction.connection.execute(_SHARE if share else _READ, parameters).one_or_none()
    return None if row is None else pb.WorkflowSchema.FromString(row.message)


def get(transaction: Transaction, name: str) -> pb.WorkflowSchema:
    """Return a schema.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = find(transaction, name)
    if found is None:
        raise NotFoundError("Not found.")
    return found


def delete(transaction: Transaction, name: str) -> pb.WorkflowSchema:
    """Delete a schema alone, and return it.

    Raises:
        NotFoundError: there is none of this name.
    """
    parameters = {"channel": transaction.channel, "name": name}
    # Postgres keeps no text that has a NUL.
    row = None if "\0" in name else transaction.connection.execute(_DELETE, parameters).one_or_none()
    if row is None:
        raise NotFoundError("Not found.")
    transaction.locked()
    schema = pb.WorkflowSchema.FromString(row.message)
    stored.forget(transaction, [schema.auxiliary_file])
    transaction.events.own(pb.EVENT_ASSET_DISABLED, name, WORKFLOW_SCHEMA, schema)
    return schema


_LISTED = Source(execution_tables.schemas, ("message",), "name", ("message",))


def page(transaction: Transaction, asked: Listing) -> tuple[int, int, Iterator[pb.WorkflowSchema]]:
    """Return how many schemas a list has, the number of the page that is asked for, and what is on it.

    Raises:
        NoPageError: there is no such page.
    """
    found = paging.read(transaction, asked, _LISTED)
    return found.count, found.page, (pb.WorkflowSchema.FromString(row.message) for row in found.rows)
