"""The database, for the commands that work in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.cli.configuration import configure
from orchestrator.cli.errors import Fault
from orchestrator.settings import DatabaseSettings

if TYPE_CHECKING:
    from orchestrator.engine.transaction import Database


@contextmanager
def opened() -> "Iterator[Database]":
    """Open the database of ORCHESTRATOR_DATABASE_URL.

    Raises:
        UsageFault: a setting is missing or wrong.
        Fault: it cannot be used, or is not of this release.
    """
    settings = configure(DatabaseSettings)
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    import migrations
    from orchestrator.core.errors import UnavailableError
    from orchestrator.engine.transaction import Database
    from orchestrator.store import connecting

    url = settings.url
    if settings.database_pooling == "transaction":
        connecting.share_sessions()
    database = Database(url, pool_size=1)
    try:
        if complaint := migrations.state(url).complaint:
            raise Fault(complaint)
        yield database
    except (SQLAlchemyError, psycopg.Error, UnavailableError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise Fault(f"the database of ORCHESTRATOR_DATABASE_URL cannot be used: {reason}") from error
    finally:
        database.close()
