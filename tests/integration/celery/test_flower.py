"""Flower over the workers of two organizations: what it shows, and to whom."""

import secrets
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.core.pokes import BUILD_FUNCTION, DISABLE_OUTPUTS, RUN_TASK
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from tests.kit.containers import BrokerContainer, Orchestrator
from tests.kit.processes import clean_environment
from tests.kit.waiting import wait_until

from .cluster import Cluster

PASSWORD = secrets.token_urlsafe()
PAGES = ("/", "/workers", "/worker/a@node-1", "/tasks", "/broker")


@pytest.fixture(scope="module")
def address(folder: Path, broker_container: BrokerContainer, orchestrator: Orchestrator) -> Iterator[str]:
    """Flower's URL."""
    port = free_port()
    process = Process(
        "flower",
        [sys.executable, "-m", "orchestrator", "flower", f"--address={HOST}", f"--port={port}"],
        log=folder / "flower.log",
        env=clean_environment(
            {
                "ORCHESTRATOR_BROKER_URL": broker_container.valkey.url,
                "ORCHESTRATOR_ORGANIZATIONS": "a, b",
                "FLOWER_BASIC_AUTH": f"user:{PASSWORD}",
            }
        ),
    )
    url = f"http://{HOST}:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthcheck", timeout=60).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    process.start()
    try:
        process.wait_ready(answers)
        yield url
    finally:
        process.stop()
        print(process.log.read_text())


@pytest.fixture
def flower(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, auth=("user", PASSWORD), timeout=30) as client:
        yield client


def ask(flower: httpx.Client, path: str, **parameters: Any) -> Any:
    return flower.get(path, params=parameters).raise_for_status().json()


def test_it_shows_the_workers_of_both_organizations(celery_setup: Cluster, flower: httpx.Client) -> None:
    def both() -> dict[str, Any] | None:
        workers = ask(flower, "/api/workers", refresh=True)
        complete = set(workers) >= {"a@node-1", "b@node-1"} and all(
            {"registered", "active_queues"} <= set(workers[name]) for name in workers
        )
        return workers if complete else None

    workers = wait_until(both, timeout=30, message="both workers in Flower")
    for organization in ("a", "b"):
        worker = workers[f"{organization}@node-1"]
        assert sorted(worker["registered"]) == [BUILD_FUNCTION, DISABLE_OUTPUTS, RUN_TASK]
        assert [queue["name"] for queue in worker["active_queues"]] == [f"org.{organization}"]


def test_it_shows_their_tasks_under_readable_names(celery_setup: Cluster, flower: httpx.Client) -> None:
    key = str(uuid.uuid4())
    sent = {
        celery_setup.poke("a", RUN_TASK, task=key, attempt=1): (RUN_TASK, "a@node-1"),
        celery_setup.poke("b", BUILD_FUNCTION, function=key): (BUILD_FUNCTION, "b@node-1"),
    }

    def both() -> dict[str, Any] | None:
        tasks = ask(flower, "/api/tasks")
        return tasks if all(tasks.get(name, {}).get("state") == "SUCCESS" for name in sent) else None

    tasks = wait_until(both, timeout=30, message="both tasks in Flower")
    for identity, (name, worker) in sent.items():
        assert (tasks[identity]["name"], tasks[identity]["worker"]) == (name, worker)
        assert key in tasks[identity]["kwargs"]


@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks", "/api/task/types", *PAGES])
def test_it_shows_nothing_without_the_password(celery_setup: Cluster, flower: httpx.Client, path: str) -> None:
    assert flower.get(path).status_code == 200
    for auth in (None, ("user", "wrong"), ("other", PASSWORD)):
        answer = httpx.get(str(flower.base_url.join(path)), auth=auth, timeout=60)
        assert answer.status_code == 401
        assert "node-1" not in answer.text


def test_it_obeys_nobody_without_the_password(celery_setup: Cluster, flower: httpx.Client) -> None:
    worker = celery_setup.worker_of("a")
    answer = httpx.post(str(flower.base_url.join(f"/api/worker/shutdown/{worker.hostname()}")), timeout=60)
    assert answer.status_code == 401
    worker.assert_log_exists(celery_setup.poke_in_vain("a"))


def test_its_metrics_are_open_and_tell_no_keys(celery_setup: Cluster, flower: httpx.Client) -> None:
    """Flower protects all but /metrics and /healthcheck: whoever reaches its port reads names and counts there."""
    key = str(uuid.uuid4())
    sent = celery_setup.poke("a", RUN_TASK, task=key, attempt=1)
    wait_until(lambda: sent in ask(flower, "/api/tasks"), timeout=30, message="the task in Flower")
    metrics = httpx.get(str(flower.base_url.join("/metrics")), timeout=60)
    assert metrics.status_code == 200
    assert f'task="{RUN_TASK}"' in metrics.text
    assert key not in metrics.text
    assert sent not in metrics.text
