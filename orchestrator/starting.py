"""How a server process starts: alone, or as one of several that share their addresses."""

from collections.abc import Callable
from dataclasses import dataclass

import migrations
from orchestrator.gateway.counts import Counts
from orchestrator.settings import DatabaseSettings
from orchestrator.store import connecting, fitness, pooling
from orchestrator.store.connection import transaction_on


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Sibling:
    """What a server process knows that is one of several.

    Args:
        serves: to be called once it serves.
        orphaned: a descriptor that becomes readable when the supervisor is gone.
        counts: of all of them; None where nobody may ask.
    """

    serves: Callable[[], None]
    orphaned: int
    counts: Counts | None


def check_database(settings: DatabaseSettings) -> None:
    """Check that a server can work with its database.

    Raises:
        StartError: it cannot.
    """
    try:
        pooling.check(settings.url, settings.database_pooling, settings.direct_url)
        complaint = migrations.state(settings.url).complaint or _unfit(settings.url)
    except pooling.PoolingError as error:
        raise StartError(str(error)) from error
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise StartError(f"the database of ORCHESTRATOR_DATABASE_URL cannot be reached: {reason}") from error
    if complaint:
        raise StartError(complaint)


def _unfit(url: str) -> str:
    engine = connecting.make_engine(url)
    try:
        with transaction_on(engine) as connection:
            return fitness.complaint(connection)
    finally:
        engine.dispose()
