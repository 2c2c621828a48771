"""Since when the orchestrator has been serving without a gap: for so long nodes could renew their leases."""

from datetime import timedelta

from sqlalchemy import text

from orchestrator.store.connection import Connection

# By the database's clock alone: those of the servers and of the sweeps' machine may differ.
_NOTE = text("""
    INSERT INTO service (id, served_since, served_at) VALUES (1, now(), now())
    ON CONFLICT (id) DO UPDATE
    SET served_since = CASE WHEN service.served_at < now() - CAST(:gap AS interval)
                            THEN excluded.served_since ELSE service.served_since END,
        served_at = greatest(service.served_at, excluded.served_at)
    RETURNING served_since = now()
""")


def note(connection: Connection, gap: timedelta) -> bool:
    """Note that a server serves now.

    Args:
        connection: inside a transaction.
        gap: the longest time between two notes that counts as service without a gap.

    Returns:
        Whether the time without a gap begins with this note.
    """
    return bool(connection.execute(_NOTE, {"gap": gap}).scalar_one())


_AGE = text("SELECT extract(epoch FROM now() - served_at) FROM service")


def age(connection: Connection) -> float | None:
    """Return how many seconds ago a server noted that it serves, None where none ever did."""
    found = connection.execute(_AGE).scalar_one_or_none()
    return None if found is None else float(found)
