"""What `orchestrator broker provision` gives to organizations, and keeps from the others."""

import uuid
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import httpx
import kombu.exceptions
import pytest
import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.broker import connection, credentials
from orchestrator.core import pokes
from orchestrator.settings import read_broker_urls
from tests.kit.brokers.accounts import Provisioned, connected, elsewhere, receive, send, speaking
from tests.kit.brokers.rabbitmq import RabbitMQ

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)

REFUSALS = (kombu.exceptions.OperationalError, redis.exceptions.RedisError, amqp.exceptions.AMQPError)
QUEUE_OF_B = "{org.b}:org.b"


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))


def test_an_organization_writes_and_reads_its_own_queue(broker: Provisioned) -> None:
    for organization in ("a", "b"):
        task = str(uuid.uuid4())
        send(broker.writing(organization), organization, task)
        assert receive(broker.url(organization), organization) == {"task": task, "attempt": 1}
        assert receive(broker.url(organization), organization) is None


def test_an_organization_neither_writes_nor_reads_the_queue_of_another_on_valkey(on_valkey: Provisioned) -> None:
    task = str(uuid.uuid4())
    send(on_valkey.writing("b"), "b", task)
    for organization in ("a", "b"):
        with pytest.raises(REFUSALS):
            send(on_valkey.url(organization), "b", str(uuid.uuid4()))
    with pytest.raises(REFUSALS):
        receive(on_valkey.url("a"), "b")
    assert receive(on_valkey.url("b"), "b") == {"task": task, "attempt": 1}
    assert receive(on_valkey.url("b"), "b") is None


def test_an_organization_neither_writes_nor_reads_the_queue_of_another_on_rabbitmq(on_rabbitmq: Provisioned) -> None:
    task = str(uuid.uuid4())
    send(on_rabbitmq.url("b"), "b", task)
    connected(on_rabbitmq.url("a"))
    trespass = elsewhere(on_rabbitmq.url("a"), "b")
    for attempt in (
        lambda: connected(trespass),
        lambda: send(trespass, "b", str(uuid.uuid4())),
        lambda: receive(trespass, "b"),
        # A queue of that name in its own vhost is another queue.
        lambda: receive(on_rabbitmq.url("a"), "b"),
    ):
        with pytest.raises(REFUSALS):
            attempt()
    send(on_rabbitmq.url("a"), "b", str(uuid.uuid4()))
    assert receive(on_rabbitmq.url("b"), "b") == {"task": task, "attempt": 1}
    assert receive(on_rabbitmq.url("b"), "b") is None


@pytest.mark.parametrize(
    "command",
    [
        ("LPUSH", QUEUE_OF_B, "x"),
        ("RPUSH", QUEUE_OF_B, "x"),
        ("RPOP", QUEUE_OF_B),
        ("BRPOP", QUEUE_OF_B, "1"),
        ("BRPOP", "{org.a}:org.a", QUEUE_OF_B, "1"),
        ("LLEN", QUEUE_OF_B),
        ("DEL", QUEUE_OF_B),
        ("EXISTS", QUEUE_OF_B),
        ("PEXPIRE", QUEUE_OF_B, "1"),
        ("HGET", "{org.b}:unacked", "x"),
        ("SMEMBERS", "{org.b}:_kombu.binding.org.b"),
        ("SADD", "{org.b}:_kombu.binding.org.b", "x"),
        ("LPUSH", "org.b", "x"),
        ("LPUSH", "{org.a}org.b", "x"),
        ("LPUSH", "{maintenance}:maintenance", "x"),
        ("PUBLISH", "{org.b}:/0.celery.pidbox", "x"),
        ("SUBSCRIBE", "{org.b}:/0.celery.pidbox"),
        ("PSUBSCRIBE", "{org.b}:/0.celeryev/*"),
        ("PSUBSCRIBE", "*"),
    ],
    ids=" ".join,
)
def test_a_command_on_what_is_not_its_own_is_refused(on_valkey: Provisioned, command: tuple[str, ...]) -> None:
    with client(on_valkey.url("a")) as stranger, pytest.raises(redis.exceptions.NoPermissionError):
        stranger.execute_command(*command)
    if command[0] in ("RPOP", "LLEN", "PUBLISH"):
        with client(on_valkey.url("b")) as owner:
            owner.execute_command(*command)


def test_flower_alone_asks_in_a_transaction_and_only_how_long_queues_are(on_valkey: Provisioned) -> None:
    for url in (on_valkey.url("a"), on_valkey.credentials.maintenance):
        with client(url) as connection, pytest.raises(redis.exceptions.NoPermissionError):
            connection.execute_command("MULTI")
    with client(on_valkey.credentials.flower) as connection:
        assert connection.pipeline().llen(QUEUE_OF_B).execute() == [0]
        with pytest.raises(redis.exceptions.NoPermissionError):
            connection.pipeline().rpop(QUEUE_OF_B).execute()


@pytest.mark.parametrize(
    "command",
    [
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "ACL LIST",
        "ACL WHOAMI",
        "ACL SETUSER org.a ~*",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "SCRIPT FLUSH",
        "SCRIPT LOAD return",
        "EVAL return 0",
        "FUNCTION LIST",
        "WATCH {org.a}:org.a",
        "SMEMBERS {org.a}:org.a",
        "SET {org.a}:org.a x",
        "SADD {org.a}:org.a x",
        "HSET {org.a}:org.a x x",
        "MONITOR",
        "INFO",
        "SHUTDOWN NOSAVE",
        "REPLICAOF NO ONE",
        "SAVE",
        "PUBSUB CHANNELS",
        "SWAPDB 0 1",
        "MIGRATE 127.0.0.1 1 x 0 1",
    ],
)
@pytest.mark.parametrize("account", ["org.a", "maintenance", "flower"])
def test_no_account_may_administrate(on_valkey: Provisioned, account: str, command: str) -> None:
    url = {
        "org.a": on_valkey.url("a"),
        "maintenance": on_valkey.credentials.maintenance,
        "flower": on_valkey.credentials.flower,
    }[account]
    with client(url) as connection, pytest.raises(redis.exceptions.NoPermissionError):
        connection.execute_command(*command.split())


def test_flower_sees_how_long_queues_are_and_takes_nothing_from_them(on_valkey: Provisioned) -> None:
    with client(on_valkey.credentials.flower) as flower:
        assert flower.llen(QUEUE_OF_B) == 0
        for command in (("LPUSH", QUEUE_OF_B, "x"), ("RPOP", QUEUE_OF_B), ("DEL", QUEUE_OF_B), ("LRANGE", QUEUE_OF_B)):
            with pytest.raises((redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)):
                flower.execute_command(*command)


def test_flower_takes_nothing_from_the_queues_of_rabbitmq(on_rabbitmq: Provisioned) -> None:
    send(on_rabbitmq.url("b"), "b", "waits")
    url = elsewhere(on_rabbitmq.credentials.flower, "b")
    connected(url)
    for attempt in (lambda: receive(url, "b"), lambda: send(url, "b", str(uuid.uuid4()))):
        with pytest.raises(amqp.exceptions.AccessRefused):
            attempt()
    assert receive(on_rabbitmq.url("b"), "b") == {"task": "waits", "attempt": 1}


def test_the_queue_on_rabbitmq_is_a_quorum_queue(on_rabbitmq: Provisioned, rabbitmq: RabbitMQ) -> None:
    send(on_rabbitmq.url("a"), "a", str(uuid.uuid4()))
    assert receive(on_rabbitmq.url("a"), "a")
    queue = (
        httpx.get(f"{rabbitmq.management_url}/api/queues/org.a/org.a", auth=rabbitmq.auth, timeout=60)
        .raise_for_status()
        .json()
    )
    assert (queue["type"], queue["durable"]) == ("quorum", True)


def test_what_is_published_to_rabbitmq_is_confirmed(on_rabbitmq: Provisioned) -> None:
    with speaking(on_rabbitmq.url("a"), "a") as app, app.connection_for_write() as connection:
        assert connection.default_channel.connection.confirm_publish


QUEUE = "echo.main"


def test_a_queue_that_is_no_organization_s_has_an_account_of_its_own(broker: Provisioned, tmp_path: Path) -> None:
    file = tmp_path / "brokers.yaml"
    file.write_text(broker.file.read_text())
    done = broker.broker.provision("--queue", QUEUE, "--output", str(file))
    assert done.returncode == 0, done.stderr
    made = credentials.read(file)
    assert made is not None
    assert made.organizations == broker.credentials.organizations
    own, told = made.queues[QUEUE], read_broker_urls(file)[QUEUE]
    assert urlsplit(own).username == QUEUE
    key = str(uuid.uuid4())
    with Celery("test", set_as_current=False) as app:
        app.conf.update(connection.queue(told, QUEUE))
        app.send_task(pokes.RUN_TASK, kwargs={"task": key, "attempt": 1}, retry=False)
    with Celery("test", set_as_current=False) as app:
        app.conf.update(connection.queue(own, QUEUE))
        with app.connection_for_read() as opened:
            message = opened.default_channel.basic_get(QUEUE, no_ack=True)
            assert opened.default_channel.message_to_python(message).payload[1]["task"] == key
    with pytest.raises(REFUSALS):
        send(own if pokes.on_redis(own) else elsewhere(own, "a"), "a", key)


@pytest.mark.parametrize("name", ["org.a", "maintenance", "relay", "flower"])
def test_an_account_that_is_there_is_no_queue_s(on_valkey: Provisioned, name: str) -> None:
    done = on_valkey.broker.provision("--queue", name, "--org", "a")
    assert done.returncode != 0
    assert f"queue {name} has an account already" in done.stderr
