"""The topics of federated executions: those of executions that are over are removed, and nobody else's."""

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import AdminClient, NewTopic

from orchestrator.cli.main import main
from orchestrator.embedded.ports import free_port
from orchestrator.engine.transaction import Database
from orchestrator.executions.runtimes import steps
from orchestrator.executions.sweeps import old_topics
from workers.runtime.kafka import pair

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


class Runs:
    """Executions whose topics a runtime has made, at a service and at a broker.

    Args:
        portal: of the service.
        broker: its host:port.
    """

    def __init__(self, portal, broker):
        self.portal, self.broker = portal, broker
        self.schema = portal.schema(inputs=FEDERATED)
        self.admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})

    def execution(self, *states: str, topics: bool = True) -> tuple[str, str]:
        """Start one, and report that it is in these states, one after the other; return the names of its pair."""
        started = self.portal.execution(self.schema)
        for state in states:
            data = {"message": "no"} if state == "failed" else {}
            assert self.portal.report(started, state, data).status_code == 200
        adapter = f"{started['id']}_-SEP-_{uuid.uuid4().hex}_-SEP-_"
        with psycopg.connect(self.portal.database) as connection:
            connection.execute(
                "INSERT INTO communication_adapters (adapter, channel, execution, worker) VALUES (%s, %s, %s, %s)",
                (adapter, "project", started["id"], "central"),
            )
        self.last = started
        if topics:
            self.make(*pair(adapter))
        return pair(adapter)

    def make(self, *names: str) -> None:
        new = [NewTopic(name, 1) for name in {*names} - self.topics]
        for future in self.admin.create_topics(new).values() if new else ():
            future.result(60)

    def remove(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(60)

    @property
    def topics(self) -> set[str]:
        return {*self.admin.list_topics(timeout=20).topics}

    def clean(self, *arguments: str, organization: str = "central", broker: str | None = None) -> Result:
        environment = {
            "ORCHESTRATOR_ADDRESS": self.portal.address,
            "ORCHESTRATOR_ORGANIZATION": organization,
            "ORCHESTRATOR_CHANNEL": "project",
            "KAFKA_BOOTSTRAP_SERVERS": broker or self.broker,
            "KAFKA_TIMEOUT": "1" if broker else "20",
        }
        return CliRunner().invoke(main, ["executions", "clean-topics", *arguments], env=environment)


@pytest.fixture
def runs(portal, light_kafka) -> Iterator[Runs]:
    made = Runs(portal, light_kafka)
    yield made
    # Others clean this broker, too.
    portal.send("DELETE", f"/api/schemas/{made.schema['name']}/")
    made.clean()


def test_topics_of_executions_that_are_over_are_deleted(runs):
    living = [*runs.execution(), *runs.execution("running")]
    over = [*runs.execution("succeeded"), *runs.execution("failed")]
    deleted = runs.execution("running")
    runs.portal.send("DELETE", f"/api/executions/{runs.last['id']}/")
    half = runs.execution("failed")
    runs.remove(half[0])
    runs.execution("failed", topics=False)
    id_ = runs.last["id"]
    elsewhere = pair(f"{id_}_-SEP-_2020-01-01_00-00-00.000000_00-00_-SEP-_")
    runs.make("status")
    foreign = ("foo_models_to_manager", "_models_to_clients", f"{id_}_-SEP-__models_to_manager")
    runs.make(*elsewhere, *foreign)
    wanted = [*over, *deleted, half[1]]
    before = runs.topics

    dry = runs.clean("--dry-run")
    assert (dry.exit_code, dry.stdout.split()) == (0, wanted), dry.output
    assert dry.stderr == "7 topics of 4 executions would be deleted\n"
    assert runs.topics == before

    done = runs.clean()
    assert (done.exit_code, done.stdout.split()) == (0, wanted), done.output
    assert runs.topics == before - {*wanted}
    assert {*living, *elsewhere, *foreign, "status"} <= runs.topics

    again = runs.clean("--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, {"deleted": [], "dry_run": False}), again.output
    for name in (*elsewhere, *foreign):
        runs.remove(name)


def test_an_organization_cleans_what_its_own_runtimes_have_made(runs):
    over = runs.execution("failed")
    assert runs.clean(organization="other").exit_code == 3
    with psycopg.connect(runs.portal.database) as connection:
        connection.execute(
            "UPDATE communication_adapters SET worker = 'other' WHERE adapter || '_models_to_manager' = %s", over[:1]
        )
    done = runs.clean()
    assert (done.exit_code, done.stdout) == (0, "")
    assert {*over} <= runs.topics
    for name in over:
        runs.remove(name)


def test_a_broker_that_is_away_is_told_of(runs):
    runs.execution("failed")
    done = runs.clean(broker=f"127.0.0.1:{free_port()}")
    assert done.exit_code == 3
    assert "Kafka at 127.0.0.1" in done.stderr


def test_the_sweep_asks_runtimes_once_for_what_is_over(runs):
    runs.execution("running")
    over = [runs.execution("succeeded")[0], runs.execution("failed")[0]]
    database = Database(runs.portal.database, pool_size=1)
    try:
        with database.begin() as connection:
            now = database.measure(connection)
        while old_topics.ask(database, now, 1):
            """One of each runtime at a time."""
        with psycopg.connect(runs.portal.database) as connection:
            asked = connection.execute(
                "SELECT queue, work FROM execution_works JOIN tasks ON tasks.key = task WHERE queue = %s",
                (steps.runtime_queue("central"),),
            ).fetchall()
    finally:
        database.close()
    works = b"".join(work for _, work in asked)
    assert all(name.removesuffix("_models_to_manager").encode() in works for name in over)
    assert runs.clean().exit_code == 0
