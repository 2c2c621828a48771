"""Events and their places as the release before the table of places wrote them, for tests of the upgrade from it."""

from sqlalchemy import text

from orchestrator.engine.transaction import Database
from orchestrator.store.connection import Connection
from orchestrator.trace import places
from tests.kit.database import tell

_WRITE = text("""
    WITH call AS MATERIALIZED (
        SELECT coalesce(CAST(:sequence AS bigint), nextval('events_sequence_seq')) AS sequence
    )
    INSERT INTO events (id, sequence, channel, created_at, kind, asset_kind, asset_key, asset, metadata)
    OVERRIDING SYSTEM VALUE
    SELECT id, (SELECT sequence FROM call), :channel, :now, kind, asset_kind, asset_key, asset, metadata
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS smallint[]), CAST(:asset_kinds AS smallint[]),
                CAST(:event_asset_keys AS text[]), CAST(:assets AS bytea[]), CAST(:metadata AS jsonb[]))
         AS event (id, kind, asset_kind, asset_key, asset, metadata)
""")
_PLACE = text("""
    WITH last AS (SELECT coalesce(max(position), 0) AS position FROM events WHERE position IS NOT NULL),
         batch AS (
             SELECT id, row_number() OVER (ORDER BY sequence, id) AS ordinal
             FROM (SELECT id, sequence FROM events WHERE position IS NULL
                   ORDER BY sequence FETCH FIRST (:limit) ROWS WITH TIES) AS unplaced
         ),
         placed AS (
             UPDATE events SET position = last.position + batch.ordinal
             FROM batch, last WHERE events.id = batch.id
             RETURNING events.position
         )
    SELECT count(*) AS count, pg_notify('orchestrator_placed', '') FROM placed HAVING count(*) > 0
""")
_READ = text("SELECT asset_key FROM events WHERE position > :position ORDER BY position")


def write(database: Database, *names: str) -> None:
    """Write the events of one call."""
    with database.begin() as connection:
        transaction = database.transaction(connection, "org-1", "ours")
        tell(transaction, *names)
        told = {"now": transaction.now, "channel": "ours", **transaction.events.parameters(transaction.now)}
        connection.execute(_WRITE, told)


def place(connection: Connection, limit: int) -> int:
    """Do one step of that release's sequencer."""
    connection.execute(places.LOCK)
    row = connection.execute(_PLACE, {"limit": limit}).one_or_none()
    return row.count if row else 0


def order(database: Database) -> list[str]:
    """Return what a reader of that release sees."""
    with database.begin() as connection:
        return [row.asset_key for row in connection.execute(_READ, {"position": 0})]
