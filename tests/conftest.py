"""Real servers for the tests: one set for each pytest-xdist worker, started when a test first asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

import migrations
from orchestrator.embedded.certificates import Layout, lay_out
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from orchestrator.engine.transaction import Database
from tests.kit import interrupts

# Fixtures of two folders: started once for both.
from tests.kit.brokers.fixtures import broker, light_kafka, on_rabbitmq, on_valkey, rabbitmq, real_kafka  # noqa: F401
from tests.kit.budget import Budget
from tests.kit.database import copied
from tests.kit.groups import Grouped, dear_first
from tests.kit.temporary import Temporary, passable

ROOT = Path(__file__).parent

# How long an example takes says more of the machine than of the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

interrupts.heed()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the tests a place for their files, and count what those of each folder take."""
    config.pluginmanager.register(Temporary(config), "temporary")
    config.pluginmanager.register(Budget(ROOT), "budget")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several processes begin with what takes long."""
    if hasattr(config, "workerinput"):
        dear_first(items, ROOT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped | None:
    """Build once what is dear, where pytest-xdist is asked to keep together what belongs together."""
    return Grouped(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="session", autouse=True)
def open_to_servers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the servers' user through to a folder that a test opens to it: pytest's own are private."""
    passable(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Give the log back as it was: a command that runs in the tests' own process turns it to its own ends."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres that forgets everything if its machine loses power; make a database of your own in it."""
    server = Postgres(passable(tmp_path_factory.mktemp("postgres")), fsync=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database that has been migrated and stays empty: the template of others."""
    migrations.upgrade(postgres.create_database("migrated"))
    return "migrated"


@pytest.fixture
def database(postgres: Postgres, migrated: str) -> Iterator[Database]:
    """A migrated database of the test's own."""
    with copied(postgres, migrated) as copy:
        yield copy


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey shared by all tests of the worker: use queues and keys of your own, flush nothing."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The certificates of a federation of three: org-1, org-2 and org-3. Read only; for more, call `lay_out`."""
    return lay_out(tmp_path_factory.mktemp("certificates"), ["org-1", "org-2", "org-3"])
