"""Pokes on their way from a server's outbox to workers that have an account each, on both brokers."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from celery import Celery

from orchestrator.broker import monitor
from orchestrator.core import pokes
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from tests.kit.brokers.accounts import ORGANIZATIONS, Provisioned, elsewhere, waiting
from tests.kit.brokers.rabbitmq import RabbitMQ
from tests.kit.containers import Orchestrator, WorkerContainer, organization_worker
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def used(request: pytest.FixtureRequest) -> Provisioned:
    """Each broker."""
    found: Provisioned = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture(scope="module")
def server(postgres: Postgres, used: Provisioned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestrator]:
    """A real server whose relay has the URLs of all organizations, and no other."""
    database_url = postgres.create_database(f"brokers_{uuid.uuid4().hex}")
    settings = {"ORCHESTRATOR_BROKER_URLS": str(used.file)}
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, database_url, {"channel": list(ORGANIZATIONS)}, settings) as address:
        yield Orchestrator(address, database_url)


@pytest.fixture(scope="module")
def workers(
    used: Provisioned, server: Orchestrator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, WorkerContainer]]:
    """The worker of each organization, with its own URL."""
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as running:
        containers = {name: worker(name, folder, used, server.address) for name in ORGANIZATIONS}
        for container in containers.values():
            running.callback(container.teardown)
            container.start()
        for container in containers.values():
            container.ready()
        yield containers
        for container in containers.values():
            print(container.logs())


def worker(organization: str, folder: Path, used: Provisioned, address: str) -> WorkerContainer:
    settings = {
        "ORCHESTRATOR_ADDRESS": address,
        "ORCHESTRATOR_BROKER_URL": used.url(organization),
        "ORCHESTRATOR_CHANNELS": "channel",
    }
    return organization_worker(organization, folder, settings)


def ask(url: str, organization: str) -> str:
    """Commit a poke for a task that nobody knows; return its key."""
    database, key = Database(url, pool_size=1), uuid.uuid4()
    try:
        database.run(
            organization, "channel", lambda transaction: transaction.pokes.run(pokes.queue(organization), key, 1)
        )
    finally:
        database.close()
    return str(key)


def test_each_poke_reaches_its_organization_only(
    used: Provisioned, server: Orchestrator, workers: Mapping[str, WorkerContainer]
) -> None:
    asked = {organization: ask(server.database_url, organization) for organization in ORGANIZATIONS}
    for organization, key in asked.items():
        wait_until(
            lambda own=workers[organization], key=key: (
                f'"task": "{key}", "attempt": 1, "reason": "OE0002' in own.logs()
            ),
            timeout=30,
            message=f"the claim of {organization}'s worker",
        )
    assert asked["a"] not in workers["b"].logs()
    assert asked["b"] not in workers["a"].logs()
    for organization in ORGANIZATIONS:
        assert waiting(used.url(organization), organization) == 0


def test_the_news_that_an_attempt_must_stop_reaches_its_organization_only(
    used: Provisioned, server: Orchestrator, workers: Mapping[str, WorkerContainer]
) -> None:
    database = Database(server.database_url, pool_size=1)
    try:
        database.run("a", "channel", lambda transaction: transaction.pokes.stop("org.a", uuid.uuid4(), 1))
    finally:
        database.close()
    wait_until(lambda: "attempts.stop_announced" in workers["a"].logs(), timeout=30, message="the news")
    # What is poked afterwards would come after it.
    key = ask(server.database_url, "b")
    wait_until(lambda: key in workers["b"].logs(), timeout=30, message="a later poke at b")
    assert "attempts.stop_announced" not in workers["b"].logs()


def test_a_worker_answers_whoever_asks_its_own_organization(
    used: Provisioned, workers: Mapping[str, WorkerContainer]
) -> None:
    flower, on_redis = used.credentials.flower, pokes.on_redis(used.broker.url)
    for organization in ORGANIZATIONS:
        url = flower if on_redis else elsewhere(flower, organization)
        with Celery("test", set_as_current=False) as app:
            app.conf.update(monitor.settings(url, [pokes.account(organization)]))
            answers = wait_until(lambda app=app: app.control.ping(timeout=1), message="an answer")
            assert answers == [{workers[organization].node: {"ok": "pong"}}]


def test_workers_meet_no_refusal(workers: Mapping[str, WorkerContainer]) -> None:
    for container in workers.values():
        assert container.status == "running"
        for complaint in ("NoPermission", "No permissions", "AccessRefused", "ACCESS_REFUSED", "Traceback"):
            assert complaint not in container.logs()


@pytest.mark.parametrize("used", ["valkey"], indirect=True)
def test_flower_hears_and_asks_all_organizations_with_its_own_account(
    used: Provisioned, workers: Mapping[str, WorkerContainer]
) -> None:
    nodes = {container.node for container in workers.values()}
    accounts = [pokes.MAINTENANCE, *map(pokes.account, ORGANIZATIONS)]
    heard: set[str] = set()

    def on_event(event: dict[str, str]) -> None:
        heard.add(event["hostname"])
        receiver.should_stop = heard >= nodes

    with Celery("test", set_as_current=False) as app:
        app.conf.update(monitor.settings(used.credentials.flower, accounts))
        answers = app.control.inspect(list(nodes), timeout=30, limit=len(nodes)).active_queues() or {}
        assert {node: [queue["name"] for queue in queues] for node, queues in answers.items()} == {
            "a@node-1": ["org.a"],
            "b@node-1": ["org.b"],
        }
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": on_event})
            receiver.capture(timeout=60)
    assert heard == nodes


@pytest.mark.parametrize("used", ["rabbitmq"], indirect=True)
def test_flower_asks_the_organization_whose_vhost_it_is_in(
    used: Provisioned, workers: Mapping[str, WorkerContainer]
) -> None:
    for organization in ORGANIZATIONS:
        with Celery("test", set_as_current=False) as app:
            app.conf.update(monitor.settings(elsewhere(used.credentials.flower, organization), ()))
            answers = app.control.inspect(timeout=30, limit=1).active_queues() or {}
        assert {node: [queue["name"] for queue in queues] for node, queues in answers.items()} == {
            workers[organization].node: [pokes.queue(organization)]
        }


# Redis and Valkey bring it again after their visibility timeout only.
@pytest.mark.parametrize("used", ["rabbitmq"], indirect=True)
def test_a_poke_whose_worker_is_killed_before_its_claim_is_answered_comes_again(
    used: Provisioned, server: Orchestrator, workers: Mapping[str, WorkerContainer], tmp_path: Path
) -> None:
    workers["a"].teardown()
    lonely = worker("a", tmp_path, used, f"{HOST}:{free_port()}")
    lonely.start()
    try:
        lonely.ready()
        key = ask(server.database_url, "a")
        wait_until(lambda: "received" in lonely.logs(), timeout=30, message="the poke at the worker without a server")
        assert waiting(used.url("a"), "a") == 0
        lonely.kill()
        wait_until(lambda: waiting(used.url("a"), "a") == 1, message="the poke in its queue again")
    finally:
        lonely.teardown()
    workers["a"].start()
    workers["a"].ready()
    wait_until(lambda: key in workers["a"].logs(), timeout=30, message="the claim")
    assert waiting(used.url("a"), "a") == 0


@pytest.mark.parametrize("used", ["rabbitmq"], indirect=True)
def test_a_vhost_holds_no_queues_for_delays(
    used: Provisioned, workers: Mapping[str, WorkerContainer], rabbitmq: RabbitMQ
) -> None:
    queues = (
        httpx.get(f"{rabbitmq.management_url}/api/queues/org.b", auth=rabbitmq.auth, timeout=60)
        .raise_for_status()
        .json()
    )
    names = {queue["name"] for queue in queues}
    assert "org.b" in names
    assert not [name for name in names if name.startswith("celery_delayed")]
