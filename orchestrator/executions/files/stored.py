"""Which files are kept for a schema or an execution: others are left from a request that was not done."""

from collections.abc import Collection
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Connection
from orchestrator.store.statements import statement

_NOTE = statement("INSERT INTO stored_files (key) SELECT key FROM unnest(CAST(:keys AS uuid[])) AS file (key)")
_FORGET = statement("DELETE FROM stored_files WHERE key = ANY(CAST(:keys AS uuid[]))")
_KNOWN = statement("SELECT key FROM stored_files WHERE key = ANY(CAST(:keys AS uuid[]))")


def note(transaction: Transaction, files: Collection[pb.StoredFile]) -> None:
    """Note that files are kept, from the commit on."""
    if files:
        transaction.connection.execute(_NOTE, {"keys": [UUID(file.key) for file in files]})


def forget(transaction: Transaction, files: Collection[pb.StoredFile]) -> None:
    """Note that files are not kept any more, from the commit on."""
    if files:
        transaction.connection.execute(_FORGET, {"keys": [UUID(file.key) for file in files]})


def unknown(connection: Connection, keys: Collection[UUID]) -> set[UUID]:
    """Return those files that are kept for nothing."""
    return set(keys) - set(connection.execute(_KNOWN, {"keys": list(keys)}).scalars())
