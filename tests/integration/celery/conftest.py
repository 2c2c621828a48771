"""pytest-celery's fixtures over local processes: a Valkey and two organizations' workers, beside a real server."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery.app import app_or_default
from pytest_celery import CeleryTestBroker, CeleryTestWorker, CeleryWorkerCluster

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.containers import BrokerContainer, Orchestrator, WorkerContainer, organization_worker
from tests.kit.servers import serving

from .cluster import Cluster

ORGANIZATIONS = ("a", "b")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what the processes of this folder's tests write."""
    return tmp_path_factory.mktemp("celery")


@pytest.fixture(scope="session")
def orchestrator(postgres: Postgres, folder: Path) -> Iterator[Orchestrator]:
    """A real server, whose channel has both organizations."""
    database_url = postgres.create_database(f"celery_{uuid.uuid4().hex}")
    with serving(folder, database_url, {"channel": list(ORGANIZATIONS)}) as address:
        yield Orchestrator(address, database_url)


@pytest.fixture(scope="session")
def broker_container(folder: Path) -> Iterator[BrokerContainer]:
    """A Valkey for this folder alone: unlike the one that all tests share, it may be restarted and flushed."""
    container = BrokerContainer(Valkey(folder / "valkey"))
    container.start()
    yield container
    container.teardown()


@pytest.fixture(scope="session")
def worker_settings(broker_container: BrokerContainer, orchestrator: Orchestrator) -> Mapping[str, str]:
    """What every organization's worker is told."""
    return {
        "ORCHESTRATOR_ADDRESS": orchestrator.address,
        "ORCHESTRATOR_BROKER_URL": broker_container.valkey.url,
        "ORCHESTRATOR_CHANNELS": "channel",
    }


@pytest.fixture(scope="session")
def worker_containers(folder: Path, worker_settings: Mapping[str, str]) -> Iterator[Mapping[str, WorkerContainer]]:
    """The worker of each organization."""
    containers = {name: organization_worker(name, folder, worker_settings) for name in ORGANIZATIONS}
    with ExitStack() as running:
        for container in containers.values():
            container.start()
            running.callback(container.teardown)
        for container in containers.values():
            container.ready()
        yield containers


@pytest.fixture
def celery_setup_cls() -> type[Cluster]:
    return Cluster


@pytest.fixture
def celery_broker(broker_container: BrokerContainer) -> CeleryTestBroker:
    return CeleryTestBroker(broker_container)


@pytest.fixture
def celery_backend() -> None:
    """There is none: what became of a task is in Postgres."""


@pytest.fixture
def celery_backend_cluster() -> None:
    """There is none either."""


@pytest.fixture
def celery_worker(worker_containers: Mapping[str, WorkerContainer]) -> CeleryTestWorker:
    """The worker of the first organization."""
    return CeleryTestWorker(worker_containers[ORGANIZATIONS[0]], app=None)


@pytest.fixture
def celery_worker_cluster(
    celery_worker: CeleryTestWorker, worker_containers: Mapping[str, WorkerContainer]
) -> CeleryWorkerCluster:
    """The workers of both organizations, running: whatever the test before has killed is started again."""
    for container in worker_containers.values():
        if container.status != "running":
            container.restart()
    others = [CeleryTestWorker(worker_containers[name], app=None) for name in ORGANIZATIONS[1:]]
    return CeleryWorkerCluster(celery_worker, *others)


@pytest.fixture(autouse=True)
def current_app() -> Iterator[None]:
    """Leave the process's current Celery app as it was: a node that is restarted changes it."""
    before = app_or_default()
    yield
    before.set_current()
