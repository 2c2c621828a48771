"""A worker whose orchestrator does not answer: the poke is not acknowledged yet, and the broker goes away."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pytest_celery import CeleryTestWorker, CeleryWorkerCluster

from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.ports import HOST, free_port
from tests.kit.containers import WorkerContainer, organization_worker
from tests.kit.waiting import wait_until

from .cluster import Cluster


@pytest.fixture
def lonely(folder: Path, worker_settings: Mapping[str, str]) -> Iterator[WorkerContainer]:
    """A worker of an organization of its own; nobody listens where it looks for the orchestrator."""
    nowhere = {"ORCHESTRATOR_ADDRESS": f"{HOST}:{free_port()}"}
    container = organization_worker("lonely", folder, {**worker_settings, **nowhere})
    container.start()
    try:
        container.ready()
        yield container
    finally:
        # It would go on to ask for its claim, and TERM waits for that.
        if container.status == "running":
            container.kill()
        container.teardown()


@pytest.fixture
def celery_worker_cluster(lonely: WorkerContainer) -> CeleryWorkerCluster:
    return CeleryWorkerCluster(CeleryTestWorker(lonely, app=None))


def test_a_worker_that_waits_for_a_claim_survives_a_restart_of_the_broker(celery_setup: Cluster) -> None:
    worker = celery_setup.worker
    sent = celery_setup.poke("lonely", RUN_TASK, task=str(uuid.uuid4()), attempt=1)
    worker.wait_for_log(f"Task {RUN_TASK}[{sent}] received")
    pid = worker.container.process.pid
    celery_setup.broker.restart()
    wait_until(lambda: celery_setup.inspect("ping", timeout=5), timeout=60, message="an answer to a ping")
    assert worker.container.status == "running"
    assert worker.container.process.pid == pid
    (active,) = celery_setup.inspect("active").values()
    assert [task["id"] for task in active] == [sent]
