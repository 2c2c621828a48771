"""What is killed beside the runtime while it starts executions: the broker, what carries topics, the server."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from orchestrator.embedded.valkey import Valkey
from orchestrator.executions.files.storage import Files
from orchestrator.executions.sweeps import orphan_files
from tests.kit.argo import Refusal
from tests.kit.brokers.tansu import Tansu
from tests.kit.database import opened
from tests.kit.installation import Installation
from tests.kit.waiting import wait_until
from workers.runtime.kafka import Kafka, KafkaSettings

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


@pytest.fixture(scope="module", autouse=True)
def runtime(installation: Installation) -> "Iterator[subprocess.Popen[bytes]]":
    with installation.runtime("outlives", KAFKA_TIMEOUT="2") as process:
        yield process


def test_a_broker_that_is_killed_in_mid_start(installation: Installation, broker: Valkey):
    with installation.asked_for(lambda: installation.started(inputs=FEDERATED)) as claimed:
        os.killpg(broker.process.pid, signal.SIGKILL)
        wait_until(lambda: not broker.process.alive, 60, "the broker to be gone")
        # Its poke finds no broker.
        waiting = installation.started(inputs=FEDERATED)
    name = installation.await_workflow(claimed)
    assert installation.state(waiting) == {"status": "pending"}
    broker.start()
    other = installation.await_workflow(waiting)
    assert [installation.workflows(each) for each in (claimed, waiting)] == [[name], [other]]
    assert [len(installation.topics_of(each)) for each in (claimed, waiting)] == [2, 2]
    for execution in (claimed, waiting):
        assert installation.portal.send("DELETE", f"/api/executions/{execution['id']}/").status_code == 204
        wait_until(lambda left=execution: not installation.workflows(left), 30, "its workflow to be ended")
    installation.sweep_topics()
    for execution in (claimed, waiting):
        wait_until(lambda left=execution: not installation.topics_of(left), 30, "its topics to be removed")


def test_kafka_that_is_killed_in_mid_start(installation: Installation, kafka: Tansu):
    kafka.freeze()
    execution = installation.started(inputs=FEDERATED)
    wait_until(lambda: installation.steps(execution) == {"START": "Doing"}, 30, "its start to be claimed")
    kafka.kill()
    wait_until(lambda: installation.faults(execution), 60, "the attempt to fail")
    assert not installation.workflows(execution)
    kafka.start()
    assert [installation.await_workflow(execution)] == installation.workflows(execution)
    assert len(installation.topics_of(execution)) == 2


def test_kafka_that_is_killed_before_what_was_made_is_removed(
    installation: Installation, kafka: Tansu, runtime: "subprocess.Popen[bytes]"
):
    with installation.asked_for(lambda: installation.started(inputs=FEDERATED)) as execution:
        (adapter,) = {name.rpartition("_models")[0] for name in installation.topics_of(execution)}
        kafka.kill()
        installation.argo.refusal = Refusal(403, "workflows are not for you", methods=("POST",))
    installation.await_state(execution, "failed")
    installation.argo.refusal = None
    runtime.send_signal(signal.SIGSTOP)
    kafka.start()
    # As one that keeps them on a disk.
    Kafka(KafkaSettings(kafka_bootstrap_servers=kafka.address)).make(adapter)
    runtime.send_signal(signal.SIGCONT)
    wait_until(lambda: not installation.topics_of(execution), 60, "its topics to be removed")
    assert not installation.workflows(execution)


def test_a_server_that_is_killed_while_it_keeps_files_leaves_none(installation: Installation):
    schema, kept = installation.schema(), installation.portal.kept()
    incoming = installation.portal.root / ".incoming"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(installation.database) as held:
        held.execute("LOCK TABLE executions IN EXCLUSIVE MODE")
        asked = pool.submit(installation.portal.execution, schema)
        wait_until(lambda: installation.portal.kept() - kept, 30, "its files to be kept")
        installation.kill_server()
        with pytest.raises(httpx.TransportError):
            asked.result(30)
    installation.serve()
    assert [*incoming.iterdir()]
    with opened(installation.database, pool_size=1) as database:
        later = datetime.now(UTC) + timedelta(hours=2)
        assert orphan_files.remove(database, later, 100, files=Files(str(installation.portal.root)))
    assert installation.portal.kept() == kept
    assert not [*incoming.iterdir()]
    listed = installation.portal.get("/api/executions/", params={"schema": schema["name"]}).json()
    assert listed["count"] == 0


def test_all_that_was_killed_left_a_trace_that_agrees_with_the_rows(installation: Installation):
    checked = installation.audit()
    assert checked.returncode == 0, checked.stdout + checked.stderr
