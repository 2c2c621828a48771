"""One installation that places executions, for all tests of the folder; each starts the runtimes that it needs.

Its broker and what carries topics are its own: tests kill them, and start them again.
"""

import uuid
from collections.abc import Iterator

import pytest

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.brokers.tansu import Tansu
from tests.kit.installation import Installation


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The broker of the pokes."""
    with Valkey(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tansu]:
    """What carries topics."""
    with Tansu(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="package")
def installation(
    postgres: Postgres, broker: Valkey, kafka: Tansu, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("placing")
    database = postgres.create_database(f"placing_{uuid.uuid4().hex}")
    with Installation(folder, database, broker.url, kafka.address) as installation:
        yield installation
