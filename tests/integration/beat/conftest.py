import pytest

from orchestrator.store.database import Database
from tests.integration.beat.network import Network


@pytest.fixture
def network(database: Database) -> Network:
    return Network(database)
