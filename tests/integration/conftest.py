"""A network of its own for each test, where a folder or a module has no other."""

import pytest

from orchestrator.store.database import Database
from tests.integration.beat.network import Network


@pytest.fixture
def network(database: Database) -> Network:
    return Network(database)


@pytest.fixture
def stranger(database: Database, network: Network) -> Network:
    """Another organization of the channel."""
    return Network(database, "org-2")
