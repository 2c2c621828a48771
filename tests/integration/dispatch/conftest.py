from collections.abc import Iterator

import pytest
from sqlalchemy import text

from orchestrator.embedded.postgres import Postgres
from orchestrator.store.database import Database
from tests.integration.database import migrated, opened


@pytest.fixture(scope="module")
def module_database(postgres: Postgres) -> Iterator[Database]:
    with opened(migrated(postgres)) as database:
        yield database


@pytest.fixture
def database(module_database: Database) -> Database:
    """A database with all tables, no event and no poke."""
    with module_database.engine.begin() as connection:
        connection.execute(text("TRUNCATE events, outbox"))
    return module_database
