from collections.abc import Iterator

import pytest

from orchestrator.embedded.postgres import Postgres
from orchestrator.store.database import Database
from tests.integration.database import forget_events, migrated, opened


@pytest.fixture(scope="module")
def module_database(postgres: Postgres) -> Iterator[Database]:
    with opened(migrated(postgres)) as database:
        yield database


@pytest.fixture
def database(module_database: Database) -> Database:
    """A database with all tables and no event."""
    forget_events(module_database)
    return module_database
