"""The tables of pokes: what was ever to be sent, what is still to be, and what is out and not known to be claimed."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, SmallInteger, Table, Text, Uuid, text

from orchestrator.store.trace_tables import metadata

# Postgres searches a full page for duplicates before it splits it, which are few here, or none.
_EACH_ITS_OWN = {"deduplicate_items": "off"}

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("key", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("traceparent", Text),
    Index("outbox_key", "key", postgresql_with=_EACH_ITS_OWN),
    postgresql_with={"fillfactor": 50},
)
"""Pokes: a `message` of `core.pokes`, or `purge` (empty the queue); when each was handed to the broker, NULL before;
`traceparent` is of the call that wrote it, then of its claim, where that was traced. What changes is in no index."""

unsent_pokes = Table(
    "unsent_pokes",
    metadata,
    Column("id", BigInteger, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("message", Text, nullable=False),
    Index("unsent_pokes_order", "queue", text("priority DESC"), "id", postgresql_with=_EACH_ITS_OWN),
    Index("unsent_pokes_others", "queue", "id", postgresql_where=text("message <> 'task.run'")),
)
"""The pokes that are to be sent, in their order: written with them, and taken out when they are handed to the broker.
Whoever moves one holds the lock of its row in `outbox`. Those that announce an attempt may be many, the others are
few."""

sent_pokes = Table(
    "sent_pokes",
    metadata,
    Column("id", BigInteger, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("key", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sent_at", DateTime(timezone=True), nullable=False),
    Index("sent_pokes_order", "queue", "sent_at"),
)
"""The pokes that announce an attempt, from their sending on. A claim leaves them alone: whether one is still due, the
state of its task says, and the relay takes out those that are not when it sends more."""
