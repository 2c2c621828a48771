"""The topics of federated executions, where what carries them is away at first, until they are over."""

from pathlib import Path

import psycopg

from orchestrator.embedded.ports import free_port
from tests.kit.brokers.tansu import tansu
from tests.kit.installation import Installation
from tests.kit.waiting import wait_until
from workers.runtime.kafka import Kafka, KafkaSettings

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


def test_topics_come_when_kafka_does_and_go_when_their_execution_is_over(installation: Installation, tmp_path: Path):
    port = free_port()
    settings = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "KAFKA_TIMEOUT": "2"}
    topics = Kafka(KafkaSettings(**settings))

    def owners() -> set[int]:
        return {int(name.partition("_")[0]) for name in topics.names() if name.partition("_")[0].isdigit()}

    with installation.runtime("runtime-topics", **settings):
        failed, lives, deleted = (installation.started(inputs=FEDERATED) for _ in "123")
        wait_until(lambda: installation.faults(failed), 90, "a start to fail")
        assert not installation.workflows(failed)
        with tansu(tmp_path, port):
            for execution in (failed, lives, deleted):
                installation.await_workflow(execution)
                assert installation.state(execution) == {"status": "pending"}
                assert len(installation.workflows(execution)) == 1
            assert {each["id"] for each in (failed, lives, deleted)} == owners()
            assert installation.portal.report(failed, "failed", {"message": "no"}).status_code == 200
            installation.portal.send("DELETE", f"/api/executions/{deleted['id']}/")
            installation.sweep_topics()
            wait_until(lambda: owners() == {lives["id"]}, 60, "topics to be removed")
            # That is noted once it is known.
            with psycopg.connect(installation.database, autocommit=True) as connection:
                noted = {each["id"] for each in (failed, lives, deleted)}
                wait_until(lambda: kept(connection) & noted == {lives["id"]}, 30, "it to be noted")


def kept(connection: "psycopg.Connection[tuple[int]]") -> set[int]:
    """Return the executions whose topics may be there."""
    return {row[0] for row in connection.execute("SELECT execution FROM communication_adapters WHERE gone_at IS NULL")}
