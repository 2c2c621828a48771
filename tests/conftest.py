"""Real servers for the tests: one set for each pytest-xdist worker, started when a test first asks."""

from collections.abc import Iterator

import pytest

from orchestrator.embedded.certificates import Layout, lay_out
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres that forgets everything if its machine loses power; make a database of your own in it."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), fsync=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey shared by all tests of the worker: use queues and keys of your own, flush nothing."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The certificates of a federation of three: org-1, org-2 and org-3. Read only; for more, call `lay_out`."""
    return lay_out(tmp_path_factory.mktemp("certificates"), ["org-1", "org-2", "org-3"])
