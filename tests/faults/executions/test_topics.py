"""The topics of federated executions, where what carries them goes away, and when they are over."""

from pathlib import Path

import psycopg

from orchestrator.embedded.ports import free_port
from orchestrator.executions.sweeps import old_topics
from tests.kit.brokers.tansu import tansu
from tests.kit.database import opened
from tests.kit.installation import Installation
from tests.kit.waiting import wait_until

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


def test_a_kafka_that_is_away_is_waited_for(installation: Installation, tmp_path: Path):
    port = free_port()
    away = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "KAFKA_TIMEOUT": "0.5"}
    with installation.runtime("runtime-kafka-away", **away):
        execution = installation.started(inputs=FEDERATED)
        wait_until(lambda: installation.faults(execution), 60, "a start to fail")
        assert not installation.workflows(execution)
        with tansu(tmp_path, port):
            installation.await_workflow(execution)
    assert installation.state(execution) == {"status": "pending"}
    assert len(installation.workflows(execution)) == 1


def test_the_sweep_has_a_runtime_remove_what_is_over(installation: Installation):
    with installation.runtime("runtime-cleaning"):
        over, lives = (installation.started(inputs=FEDERATED) for _ in "12")
        for execution in (over, lives):
            installation.await_workflow(execution)
        assert installation.portal.report(over, "failed", {"message": "no"}).status_code == 200
        deleted = installation.started(inputs=FEDERATED)
        installation.await_workflow(deleted)
        installation.portal.send("DELETE", f"/api/executions/{deleted['id']}/")
        with opened(installation.database, pool_size=1) as database:
            with database.begin() as connection:
                now = database.measure(connection)
            old_topics.ask(database, now, 500)
        gone = {over["id"], deleted["id"]}
        wait_until(lambda: not gone & owners(installation), 30, "their topics to be removed")
    assert lives["id"] in owners(installation)
    with psycopg.connect(installation.database) as connection:
        kept = {row[0] for row in connection.execute("SELECT execution FROM communication_adapters")}
    assert lives["id"] in kept
    assert not gone & kept


def owners(installation: Installation) -> set[int]:
    """The executions that have topics."""
    return {int(name.partition("_")[0]) for name in installation.topics() if name.partition("_")[0].isdigit()}
