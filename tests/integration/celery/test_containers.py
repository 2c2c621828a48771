"""The same cluster in containers, with pytest-celery's own Redis and RabbitMQ: needs a container engine.

The image is built from this checkout and requirements.lock by the Dockerfile beside this module; a Postgres, a server
and the workers of two organizations run in a network of their own for each test.
"""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from pytest_celery import (
    CELERY_RABBITMQ_BROKER,
    CELERY_REDIS_BROKER,
    CeleryTestBroker,
    CeleryTestContainer,
    CeleryTestWorker,
    CeleryWorkerCluster,
    CeleryWorkerContainer,
)
from pytest_docker_tools import build, container, fxtr

from orchestrator.core import pokes

from .cluster import Cluster

CHECKOUT = Path(__file__).resolve().parents[3]
PARTS = (
    "orchestrator",
    "workers",
    "beat",
    "migrations",
    "examples",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "requirements.lock",
)
NETWORK = "{default_pytest_celery_network.name}"
PASSWORD = secrets.token_urlsafe()
ENGINE_SECONDS = 20

# The image is built within the first test.
pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skip unless a container engine answers; before anything else asks for it."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("needs a container engine: there is no `docker` command")
    try:
        answer = subprocess.run([program, "info"], capture_output=True, text=True, timeout=ENGINE_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"needs a container engine: `docker info` gave no answer in {ENGINE_SECONDS} s")
    if answer.returncode != 0:
        pytest.skip(f"needs a container engine: `docker info` says: {answer.stderr.strip()}")


@pytest.fixture(scope="session")
def docker_client(engine: None) -> Iterator[docker.DockerClient]:
    """The client that all containers are started with; unlike the plugin's own, it is closed."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def build_context(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with what the image is built from, and nothing else of the checkout."""
    context = tmp_path_factory.mktemp("image") / "context"
    context.mkdir()
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, context / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context)
    shutil.copy(Path(__file__).with_name("Dockerfile"), context)
    (context / "channels.yaml").write_text("channels: {channel: [a, b]}\n")
    return str(context)


class Postgres(CeleryTestContainer):
    """The database; whoever needs it tries until it answers."""

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@{self.attrs['Config']['Hostname']}:5432/postgres"


class Server(CeleryTestContainer):
    """The orchestrator."""

    @property
    def address(self) -> str:
        return f"{self.attrs['Config']['Hostname']}:9000"

    @property
    def ready_prompt(self) -> str:
        return "server.started"


class OrganizationWorker(CeleryWorkerContainer):
    """The worker of an organization."""

    organization: str

    @classmethod
    def command(cls, *args: str, debugpy: bool = False, wait_for_client: bool = True, **kwargs: dict) -> list[str]:
        return ["worker", "--org", cls.organization]

    @classmethod
    def worker_name(cls) -> str:
        return cls.organization

    @classmethod
    def worker_queue(cls) -> str:
        return pokes.queue(cls.organization)

    @property
    def node(self) -> str:
        """The name of its Celery node: the host is the container."""
        return f"{self.organization}@{self.id[:12]}"


class WorkerOfA(OrganizationWorker):
    organization = "a"


class WorkerOfB(OrganizationWorker):
    organization = "b"


image = build(path=fxtr("build_context"), tag="orchestrator-tests:checkout")

database = container(
    image="postgres:18-alpine",
    environment={"POSTGRES_PASSWORD": PASSWORD},
    network=NETWORK,
    wrapper_class=Postgres,
)

server = container(
    image="{image.id}",
    entrypoint=["sh", "-c"],
    command=["until python -m orchestrator migrate; do sleep 1; done; exec python -m orchestrator serve"],
    environment=fxtr("server_environment"),
    network=NETWORK,
    wrapper_class=Server,
    timeout=120,
)

worker_of_a, worker_of_b = (
    container(
        image="{image.id}",
        command=wrapper.command(),
        environment=fxtr("worker_environment"),
        network=NETWORK,
        wrapper_class=wrapper,
        timeout=60,
    )
    for wrapper in (WorkerOfA, WorkerOfB)
)


@pytest.fixture
def server_environment(database: Postgres) -> dict[str, str]:
    return {
        "ORCHESTRATOR_DATABASE_URL": database.url,
        "ORCHESTRATOR_CHANNEL_CONFIG": "/checkout/channels.yaml",
    }


@pytest.fixture
def worker_environment(server: Server, celery_worker_cluster_config: dict) -> dict[str, str]:
    """What both organizations' workers are told: the broker's address inside the network comes from pytest-celery."""
    (broker_url,) = celery_worker_cluster_config["celery_broker_cluster_config"]["urls"]
    return {
        "ORCHESTRATOR_ADDRESS": server.address,
        "ORCHESTRATOR_BROKER_URL": broker_url,
        "ORCHESTRATOR_CHANNELS": "channel",
        "ORCHESTRATOR_STORE_ROOT": "/home/orchestrator/store",
        "ORCHESTRATOR_STORE_URL": "https://store.example.org",
        "ORCHESTRATOR_WORK_DIR": "/home/orchestrator/work",
    }


@pytest.fixture(params=[CELERY_REDIS_BROKER, CELERY_RABBITMQ_BROKER])
def celery_broker(request: pytest.FixtureRequest) -> Iterator[CeleryTestBroker]:
    """Every test runs on both brokers."""
    broker: CeleryTestBroker = request.getfixturevalue(request.param)
    yield broker
    broker.teardown()


@pytest.fixture
def celery_worker_cluster(worker_of_a: WorkerOfA, worker_of_b: WorkerOfB) -> CeleryWorkerCluster:
    return CeleryWorkerCluster(*(CeleryTestWorker(worker, app=None) for worker in (worker_of_a, worker_of_b)))


def test_the_cluster_is_ready_and_answers_pings(celery_setup: Cluster) -> None:
    assert celery_setup.ready(control=True)
    nodes = {worker.hostname() for worker in celery_setup.worker_cluster}
    assert set(celery_setup.inspect("ping")) == nodes
    names = [pokes.BUILD_FUNCTION, pokes.DISABLE_OUTPUTS, pokes.RUN_TASK]
    assert celery_setup.inspect("registered") == dict.fromkeys(nodes, names)


def test_a_poke_reaches_its_organization_only(celery_setup: Cluster) -> None:
    a, b = celery_setup.worker_of("a"), celery_setup.worker_of("b")
    for_a = celery_setup.poke_in_vain("a")
    a.assert_log_exists(for_a)
    b.assert_log_exists(celery_setup.poke_in_vain("b"))
    assert for_a not in b.logs()


def test_a_poke_waits_for_a_worker_that_was_killed(celery_setup: Cluster) -> None:
    a, b = celery_setup.worker_of("a"), celery_setup.worker_of("b")
    a.kill()
    for_a = celery_setup.poke_in_vain("a")
    b.assert_log_exists(celery_setup.poke_in_vain("b"))
    a.restart()
    a.assert_log_exists(for_a)


def test_workers_survive_a_restart_of_the_broker(celery_setup: Cluster) -> None:
    started = {worker.name(): worker.container.attrs["State"]["StartedAt"] for worker in celery_setup.worker_cluster}
    celery_setup.broker.restart()
    for worker in celery_setup.worker_cluster:
        worker.assert_log_exists(celery_setup.poke_in_vain(worker.worker_name))
        worker.container.reload()
        assert worker.container.attrs["State"]["StartedAt"] == started[worker.name()]
