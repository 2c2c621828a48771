"""Pokes to send: written in the transaction that makes them due, sent after its commit by the relay."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

TASK = "task"
FUNCTION = "function"
STOP = "stop"
DISABLE = "disable"
PURGE = "purge"


@dataclass(frozen=True)
class Poke:
    """A message to an organization's queue.

    Args:
        kind: `task` (run an attempt of it), `function` (build it), `stop` (end the attempt), `disable` (delete the
            task's transient models) or `purge` (no message: empty the queue).
        organization: whose queue.
        key: the task or the function; it means nothing for a purge.
        attempt: the number of the attempt that is due.
    """

    kind: str
    organization: str
    key: UUID
    attempt: int


class Recorder:
    """The pokes of one transaction."""

    def __init__(self) -> None:
        self.pokes: list[Poke] = []

    def __bool__(self) -> bool:
        return bool(self.pokes)

    def run(self, worker: str, task: UUID, attempt: int) -> None:
        """Ask a worker to claim the next attempt of a task."""
        self.pokes.append(Poke(TASK, worker, task, attempt))

    def build(self, owner: str, function: UUID) -> None:
        """Ask a function's owner to build it."""
        self.pokes.append(Poke(FUNCTION, owner, function, 1))

    def stop(self, worker: str, task: UUID, attempt: int) -> None:
        """Tell a worker that an attempt must end; its heartbeat will hear it too, later."""
        self.pokes.append(Poke(STOP, worker, task, attempt))

    def parameters(self) -> dict[str, object]:
        """Return the parameters of `WRITE`, but for the time."""
        return {
            "poke_kinds": [poke.kind for poke in self.pokes],
            "organizations": [poke.organization for poke in self.pokes],
            "poke_keys": [poke.key for poke in self.pokes],
            "attempts": [poke.attempt for poke in self.pokes],
        }


WRITE = """
    INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
    SELECT kind, organization, key, attempt, :now
    FROM unnest(CAST(:poke_kinds AS text[]), CAST(:organizations AS text[]), CAST(:poke_keys AS uuid[]),
                CAST(:attempts AS int[])) AS poke (kind, organization, key, attempt)
"""
"""Inserts the pokes of a transaction."""

# One step in the index for each organization, however many pokes wait for one that is away.
_WAITING = text("""
    WITH RECURSIVE waiting (organization) AS (
        SELECT min(organization) FROM outbox WHERE sent_at IS NULL
        UNION ALL
        SELECT (SELECT min(outbox.organization) FROM outbox
                WHERE sent_at IS NULL AND outbox.organization > waiting.organization)
        FROM waiting WHERE organization IS NOT NULL
    )
    SELECT organization FROM waiting WHERE organization IS NOT NULL
""")


def waiting(connection: Connection) -> list[str]:
    """Return the organizations that have unsent pokes."""
    return list(connection.execute(_WAITING).scalars())


_TAKE = text("""
    SELECT id, kind, organization, asset_key, attempt FROM outbox
    WHERE sent_at IS NULL AND organization = :organization ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")


def take(connection: Connection, organization: str, limit: int) -> list[tuple[int, Poke]]:
    """Return unsent pokes of an organization with their ids, the oldest first, locked until the transaction ends."""
    return [
        (row.id, Poke(row.kind, row.organization, row.asset_key, row.attempt))
        for row in connection.execute(_TAKE, {"organization": organization, "limit": limit})
    ]


_MARK = text("UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY(:ids)")


def mark_sent(connection: Connection, ids: list[int]) -> None:
    """Note that pokes have been handed to the broker."""
    connection.execute(_MARK, {"ids": ids})


# A poke that the relay holds is on its way; waiting for the broker would hold up the call.
_DROP = text("""
    DELETE FROM outbox
    WHERE id IN (SELECT id FROM outbox WHERE sent_at IS NULL AND kind = 'task' AND asset_key = ANY(:keys)
                 FOR UPDATE SKIP LOCKED)
""")


def drop_unsent(connection: Connection, tasks: list[UUID]) -> None:
    """Forget the unsent pokes of tasks that have ended."""
    connection.execute(_DROP, {"keys": tasks})


_COUNT_SENT = text("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")


def count_sent(connection: Connection) -> int:
    """Return how many pokes have been handed to the broker."""
    return int(connection.execute(_COUNT_SENT).scalar_one())
