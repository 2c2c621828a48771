"""One installation that places executions, for all tests of the folder; each starts the runtimes that it needs."""

import uuid
from collections.abc import Iterator

import pytest

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.installation import Installation


@pytest.fixture(scope="package")
def installation(
    postgres: Postgres, valkey: Valkey, light_kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("placing")
    database = postgres.create_database(f"placing_{uuid.uuid4().hex}")
    with Installation(folder, database, valkey.url, light_kafka) as installation:
        yield installation
