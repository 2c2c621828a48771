"""The service of executions that the tests of its contract share."""

from collections.abc import Iterator

import pytest

from orchestrator.embedded.postgres import Postgres
from tests.kit.portal import PARTNERS, Portal, served


@pytest.fixture(scope="session")
def portal(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    settings = {
        "VALID_DATA_PARTNERS": ",".join(PARTNERS),
        "MAAS_API_HOSTNAME": "maas.example:8000",
        "EXECUTION_DATA_LIMIT": str(1024 * 1024),
    }
    with served(postgres, tmp_path_factory.mktemp("executions"), **settings) as portal:
        yield portal
