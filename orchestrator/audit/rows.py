"""What an audit reads: the rows that must agree with the events, and with each other.

Each query returns few rows where all is well, or is read in small parts, so that the audit's memory does not grow with
the channel.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.compute import assets
from orchestrator.core import pokes
from orchestrator.engine import kinds
from orchestrator.engine.kinds import Kind
from orchestrator.engine.outbox import PURGE
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.trace import events, forgotten

_PART = 200


_GAPS = statement("""
    SELECT before, position FROM (
        SELECT places.position, coalesce(lag(places.position) OVER (ORDER BY places.position), :forgotten) AS before
        FROM places JOIN events ON events.id = places.event AND events.channel = places.channel
        WHERE places.position > :forgotten
    ) AS placed
    WHERE position <> before + 1 ORDER BY position
""")


def gaps(connection: Connection) -> list[tuple[int, int]]:
    """Return the pairs of places, of all channels, that are neighbours and do not follow on one another.

    The first place follows on the last that was forgotten. The two are the same where two events have one place.
    """
    rows = connection.execute(_GAPS, {"forgotten": forgotten.last(connection)})
    return [(row.before, row.position) for row in rows]


_LOST = statement("""
    SELECT CAST(id AS text) AS event_id, asset_key FROM events
    WHERE channel = :channel AND (CAST(:until AS timestamptz) IS NULL OR created_at > :until)
      AND NOT EXISTS (SELECT FROM places WHERE places.event = events.id)
      AND NOT EXISTS (SELECT FROM unplaced WHERE unplaced.event = events.id)
    ORDER BY id
""")


def lost(connection: Connection, channel: str) -> Iterator[Row]:
    """Yield the events of a channel that have no place and will get none, but for what was forgotten."""
    gone = forgotten.of(connection, channel)
    yield from _stream(connection, _LOST, {"channel": channel, "until": gone.until if gone else None})


# Told, but for what was forgotten: rows of that may still lie about, here and there.
_TOLD = """
    channel = :channel
    AND (CAST(:forgotten AS bigint) = 0
         OR EXISTS (SELECT FROM places WHERE places.event = events.id AND places.position > :forgotten)
         OR id IN (SELECT event FROM unplaced))
"""


# The order of an asset's events: by the number of the call, which it drew under the asset's lock.
_LAST_EVENTS = """
    SELECT CAST($TABLE.key AS text) AS key, $TABLE.created_at, $TABLE.message,
           CAST(event.id AS text) AS event_id, event.asset
    FROM $TABLE LEFT JOIN LATERAL (
        SELECT id, asset FROM events
        WHERE $TOLD AND $OF_ASSET AND asset_kind = :kind
        ORDER BY sequence DESC, id DESC LIMIT 1
    ) AS event ON true
    WHERE $TABLE.channel = :channel
"""
_KIND_OF_TABLE = {
    assets.data_samples.table: pb.ASSET_DATA_SAMPLE,
    assets.data_managers.table: pb.ASSET_DATA_MANAGER,
    assets.functions.table: pb.ASSET_FUNCTION,
    assets.compute_plans.table: pb.ASSET_COMPUTE_PLAN,
    assets.models.table: pb.ASSET_MODEL,
}


def last_events(connection: Connection, channel: str, stored: assets.Assets[Any]) -> Iterator[Row]:
    """Yield the assets of a channel: key, time, message, and id and snapshot of the last event, None without one.

    Args:
        connection: of a snapshot.
        channel: whose.
        stored: which assets.
    """
    of_asset = events.of_asset(f"CAST({stored.table.name}.key AS text)")
    query = statement(_LAST_EVENTS, TABLE=stored.table.name, TOLD=_TOLD, OF_ASSET=of_asset)
    return _read(connection, query, channel, kind=_KIND_OF_TABLE[stored.table])


# Of a poke: the sweep of lost ones finds it, or the relay.
_FOUND = """
    CASE WHEN poke.sent_at IS NULL
         THEN EXISTS (SELECT FROM unsent_pokes AS unsent
                      WHERE unsent.queue = poke.queue AND unsent.priority = poke.priority AND unsent.id = poke.id)
         ELSE EXISTS (SELECT FROM sent_pokes AS out
                      WHERE out.queue = poke.queue AND out.sent_at = poke.sent_at AND out.id = poke.id) END
"""
_TASKS = statement(
    """
    SELECT CAST(tasks.key AS text) AS key, tasks.created_at, tasks.queue, state.status, state.pending_parents,
           state.attempts, tasks.message, state.plan_key <> tasks.plan_key AS astray,
           state.status = $TO_DO AND due_at IS NULL
               AND (poked_at IS NULL
                    OR NOT EXISTS (SELECT FROM outbox AS poke WHERE message = '$RUN_TASK' AND poke.key = tasks.key
                                   AND attempt = state.attempts + 1 AND $FOUND)) AS silent,
           EXISTS (SELECT FROM declines WHERE task_key = tasks.key AND declines.attempts = state.attempts) AS declined,
           told.event_ids, told.assets, told.times, told.kinds,
           run.numbers, run.claimed, run.ended, run.outcomes,
           above.parents, above.pending,
           poked.attempts AS poked_attempts, poked.queues AS poked_queues
    FROM tasks JOIN task_states AS state ON state.key = tasks.key
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(CAST(id AS text) ORDER BY sequence, id), '{}') AS event_ids,
               coalesce(array_agg(asset ORDER BY sequence, id), '{}') AS assets,
               coalesce(array_agg(created_at ORDER BY sequence, id), '{}') AS times,
               coalesce(array_agg(kind ORDER BY sequence, id), '{}') AS kinds
        FROM events WHERE $TOLD AND $OF_ASSET AND asset_kind = :asset_kind
    ) AS told
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(number ORDER BY number), '{}') AS numbers,
               coalesce(array_agg(claimed_at ORDER BY number), '{}') AS claimed,
               coalesce(array_agg(ended_at ORDER BY number), '{}') AS ended,
               coalesce(array_agg(outcome ORDER BY number), '{}') AS outcomes
        FROM attempts WHERE task_key = tasks.key
    ) AS run
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(CAST(parent AS text)), '{}') AS parents,
               count(*) FILTER (WHERE above.status <> $DONE) AS pending
        FROM edges JOIN task_states AS above ON above.key = parent WHERE child = tasks.key
    ) AS above
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(attempt), '{}') AS attempts,
               coalesce(array_agg(queue), '{}') AS queues
        FROM outbox WHERE message = '$RUN_TASK' AND key = tasks.key
    ) AS poked
    WHERE tasks.channel = :channel AND tasks.kind = :kind
    """,
    TOLD=_TOLD,
    OF_ASSET=events.of_asset("CAST(tasks.key AS text)"),
    FOUND=_FOUND,
    RUN_TASK=pokes.RUN_TASK,
)


def tasks(connection: Connection, channel: str, kind: Kind) -> Iterator[Row]:
    """Yield the tasks of a kind of work in a channel, each with its events, attempts, parents and pokes."""
    return _read(connection, _TASKS, channel, kind=kind.name, asset_kind=kind.asset_kind)


_TOLD_ONLY = statement(
    """
    SELECT DISTINCT ON (asset_key) asset_key, CAST(id AS text) AS event_id FROM events
    WHERE $TOLD AND asset_kind = ANY(CAST(:kinds AS smallint[]))
      AND NOT EXISTS (SELECT FROM data_samples WHERE CAST(key AS text) = asset_key)
      AND NOT EXISTS (SELECT FROM data_managers WHERE CAST(key AS text) = asset_key)
      AND NOT EXISTS (SELECT FROM functions WHERE CAST(key AS text) = asset_key)
      AND NOT EXISTS (SELECT FROM tasks JOIN task_states USING (key) WHERE CAST(key AS text) = asset_key)
      AND NOT EXISTS (SELECT FROM compute_plans WHERE CAST(key AS text) = asset_key)
      AND NOT EXISTS (SELECT FROM models WHERE CAST(key AS text) = asset_key)
    ORDER BY asset_key, sequence DESC, id DESC
    """,
    TOLD=_TOLD,
)


def told_only(connection: Connection, channel: str) -> Iterator[Row]:
    """Yield the assets that the events of a channel tell of, and that have no row."""
    told = {*_KIND_OF_TABLE.values(), *(kind.asset_kind for kind in kinds.every())}
    return _read(connection, _TOLD_ONLY, channel, kinds=sorted(told))


_POKES_OF_NOTHING = statement(
    """
    SELECT id, CASE message WHEN '$BUILD' THEN 'function' ELSE 'task' END AS kind, CAST(key AS text) AS asset_key
    FROM outbox
    WHERE message <> '$PURGE' AND (message <> '$STOP' OR attempt > 0)
      AND NOT EXISTS (SELECT FROM tasks WHERE outbox.message <> '$BUILD' AND tasks.key = outbox.key)
      AND NOT EXISTS (SELECT FROM functions WHERE outbox.message = '$BUILD' AND functions.key = outbox.key)
    ORDER BY id
    """,
    BUILD=pokes.BUILD_FUNCTION,
    PURGE=PURGE,
    STOP=pokes.STOP_ATTEMPTS,
)


def pokes_of_nothing(connection: Connection) -> Iterator[Row]:
    """Yield the pokes, of all channels, for what does not exist."""
    return _stream(connection, _POKES_OF_NOTHING, {})


def _read(connection: Connection, query: TextClause, channel: str, **parameters: object) -> Iterator[Row]:
    gone = forgotten.of(connection, channel)
    yield from _stream(connection, query, {"channel": channel, "forgotten": gone.position if gone else 0, **parameters})


def _stream(connection: Connection, query: TextClause, parameters: dict[str, object]) -> Iterator[Row]:
    yield from connection.stream(query, parameters, _PART)
