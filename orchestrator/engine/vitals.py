"""When each sweep ran last, each node of any channel was heard last, and each queue was read last."""

from datetime import datetime

from sqlalchemy import text

from orchestrator.core.vitals import NodeVitals, QueueVitals, SweepVitals, Vitals
from orchestrator.engine import presence, totals
from orchestrator.engine.transaction import Database
from orchestrator.store.connection import Connection
from orchestrator.trace import places

_SWEEPS = text("SELECT name, extract(epoch FROM :now - ran_at) AS age, repaired FROM sweeps ORDER BY name")
_NODES = text("""
    SELECT channel, organization, name, extract(epoch FROM :now - heard_at) AS age, attempts,
        extract(epoch FROM certificate_ends - :now) AS certificate FROM nodes
    ORDER BY channel, organization, name
""")
_QUEUES = text("SELECT name, extract(epoch FROM :now - heard_at) AS age FROM queues ORDER BY name")
_NOBODY = ""


def read(database: Database) -> Vitals:
    """Return how the sweeps, the nodes and the queues are.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    return database.run(_NOBODY, _NOBODY, lambda transaction: _read(transaction.connection, transaction.now))


def _read(connection: Connection, now: datetime) -> Vitals:
    # The clocks of two machines differ: what has just happened here may lie ahead there.
    return Vitals(
        presence=presence.age(connection),
        sweeps=[
            SweepVitals(row.name, max(0.0, float(row.age)), row.repaired)
            for row in connection.execute(_SWEEPS, {"now": now})
        ],
        nodes=[
            NodeVitals(
                row.channel,
                row.organization,
                row.name,
                max(0.0, float(row.age)),
                row.attempts,
                None if row.certificate is None else float(row.certificate),
            )
            for row in connection.execute(_NODES, {"now": now})
        ],
        queues=[QueueVitals(row.name, max(0.0, float(row.age))) for row in connection.execute(_QUEUES, {"now": now})],
        totals=totals.read(connection, now),
        unplaced=places.lag(connection, now),
    )
