"""The maintenance worker as a cluster of one: it runs the sweeps of its own queue, and fires none without beat."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_celery import CeleryTestWorker, CeleryWorkerCluster

from beat.app import QUEUE
from orchestrator.embedded.ports import free_port
from tests.kit.containers import BrokerContainer, Orchestrator, WorkerContainer
from tests.kit.health import asked, await_ready

from .cluster import Cluster

SWEEP = "sweep.lost_pokes"
HEALTH = f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def maintenance(
    folder: Path, broker_container: BrokerContainer, orchestrator: Orchestrator
) -> Iterator[WorkerContainer]:
    settings = {
        "ORCHESTRATOR_HEALTH_ADDRESS": HEALTH,
        # Below, sweeps are silent.
        "ORCHESTRATOR_LOG_LEVEL": "DEBUG",
        "ORCHESTRATOR_BROKER_URL": broker_container.valkey.url,
        "ORCHESTRATOR_DATABASE_URL": orchestrator.database_url,
    }
    container = WorkerContainer(
        "maintenance", QUEUE, ["beat", "--no-schedule"], folder, settings, host=socket.gethostname()
    )
    container.start()
    try:
        container.ready()
        yield container
    finally:
        container.teardown()


@pytest.fixture
def celery_worker_cluster(maintenance: WorkerContainer) -> CeleryWorkerCluster:
    return CeleryWorkerCluster(CeleryTestWorker(maintenance, app=None))


def test_it_consumes_its_own_queue_only(celery_setup: Cluster) -> None:
    (queues,) = celery_setup.inspect("active_queues").values()
    assert [queue["name"] for queue in queues] == [QUEUE]
    (names,) = celery_setup.inspect("registered").values()
    assert SWEEP in names


def test_it_runs_a_sweep_when_told(celery_setup: Cluster) -> None:
    sent = celery_setup.sweep(SWEEP)
    celery_setup.worker.assert_log_exists(f"Task {SWEEP}[{sent}] succeeded")
    assert "beat: Starting" not in celery_setup.worker.logs()


def test_it_is_ready_when_it_reads_its_queue_and_the_database_answers(celery_setup: Cluster) -> None:
    await_ready(HEALTH)
    assert asked(HEALTH, "/health") == (200, "ok")


def test_it_comes_back_after_a_kill(celery_setup: Cluster) -> None:
    worker = celery_setup.worker
    worker.kill()
    sent = celery_setup.sweep(SWEEP)
    worker.restart()
    await_ready(HEALTH)
    worker.assert_log_exists(f"Task {SWEEP}[{sent}] succeeded")
