"""A deployment in a database of the test's own."""

import pytest

from orchestrator.engine.transaction import Database
from tests.kit.deployment import Deployment


@pytest.fixture
def deployment(database: Database) -> Deployment:
    return Deployment(database)
