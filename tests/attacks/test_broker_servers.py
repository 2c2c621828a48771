"""Brokers of several versions, that refuse for a while, that one account floods, or whose certificate nobody knows."""

import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import amqp
import kombu.exceptions
import pytest
import redis
import structlog.testing
from celery import Celery

from beat.app import QUEUE
from orchestrator.broker import connection, credentials, monitor
from orchestrator.broker.limits import Limits
from orchestrator.broker.provision import provision
from orchestrator.core import pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.relay import Relay
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.valkey import Valkey, find_binary
from orchestrator.engine.transaction import Database
from tests.kit.brokers import redis_server
from tests.kit.brokers.accounts import Broker, Provisioned, provisioned, receive, send, speaking
from tests.kit.brokers.rabbitmq import RabbitMQ
from tests.kit.brokers.redis_server import RedisServer
from tests.kit.containers import WorkerContainer, organization_worker
from tests.kit.debian import AbsentError
from tests.kit.refusing import RefusingProxy
from tests.kit.waiting import wait_until

# The first tests of RabbitMQ and Redis install them where they are missing.
pytestmark = pytest.mark.timeout(600)


def debian() -> Path:
    try:
        return redis_server.debian()
    except AbsentError as error:
        pytest.skip(f"needs Redis: {error}")


ELSEWHERE = "127.0.0.2"
VERSIONS = {"valkey": find_binary, "debian": debian} | {
    str(binary): lambda binary=binary: binary for binary in redis_server.named()
}


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of each version that can be had."""
    server = RedisServer(VERSIONS[request.param](), tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_accounts_are_set_up_and_serve_on_each_version(server: RedisServer, tmp_path: Path) -> None:
    used = provisioned(Broker(server.url, (), {}), tmp_path)
    assert stat.S_IMODE(used.file.stat().st_mode) == 0o600
    task = str(uuid.uuid4())
    send(used.writing("b"), "b", task)
    for stranger in (used.url("a"), used.credentials.flower, used.credentials.maintenance):
        with pytest.raises((redis.RedisError, kombu.exceptions.OperationalError)):
            receive(stranger, "b")
    assert receive(used.url("b"), "b") == {"task": task, "attempt": 1}
    # Who asks, and is answered by nobody.
    with Celery("test", set_as_current=False) as app:
        app.conf.update(monitor.settings(used.credentials.flower, [pokes.account("a")]))
        assert app.control.inspect(timeout=0.2).ping() is None
    for command in (
        "EVAL x 0",
        "SCRIPT LOAD x",
        "SET {org.a}:org.a x",
        "LPUSH {org.a}:org.a x",
        "PSUBSCRIBE *",
        "MULTI",
    ):
        with (
            redis.Redis.from_url(used.url("a")) as client,
            pytest.raises(redis.exceptions.NoPermissionError),
        ):
            client.execute_command(*command.split())


def test_what_is_wanting_in_a_configuration_is_said(server: RedisServer) -> None:
    done = Broker(server.url, (), {}).provision("--org", "a")
    assert done.returncode == 0, done.stderr
    for words in ("`maxmemory 256mb`", "`client-query-buffer-limit 8mb`", "forgets these accounts"):
        assert words in done.stderr


def test_no_file_is_written_before_the_broker_took_the_accounts(server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "brokers.yaml"
    with server.client() as administrator:
        administrator.execute_command("ACL", "SETUSER", "weak", "on", "nopass", "~*", "+@all", "-acl")
        weak = server.url.replace("://", "://weak:x@")
        done = Broker(weak, (), {}).provision("--org", "a", "--output", str(file))
        assert done.returncode == 3
        assert [path.name for path in tmp_path.iterdir() if "brokers" in path.name] == []
        assert len(administrator.acl_users()) == 2


def test_a_file_that_cannot_be_written_changes_no_account(server: RedisServer, tmp_path: Path) -> None:
    done = Broker(server.url, (), {}).provision("--org", "a", "--output", str(tmp_path / "missing" / "brokers.yaml"))
    assert done.returncode == 1
    with server.client() as administrator:
        assert administrator.acl_users() == ["default"]


class Refusing(NamedTuple):
    """A broker that can be made to refuse.

    Args:
        server: itself.
        proxy: through which all but the administrator speak to it.
        used: its accounts.
        containers: a worker and a beat on it.
    """

    server: Valkey
    proxy: RefusingProxy
    used: Provisioned
    containers: list[WorkerContainer]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    """A Valkey of its own with accounts, a worker and a beat on it."""
    folder = tmp_path_factory.mktemp("refusing")
    server = Valkey(folder / "valkey")
    with ExitStack() as running:
        server.start()
        running.callback(server.stop)
        proxy = running.enter_context(RefusingProxy(server.port))
        used = provisioned(Broker(server.url.replace(f":{server.port}/", f":{proxy.port}/"), (), {}), folder)
        nowhere = f"{HOST}:{free_port()}"
        own = {"ORCHESTRATOR_ADDRESS": nowhere, "ORCHESTRATOR_BROKER_URL": used.url("a"), "ORCHESTRATOR_CHANNELS": "c"}
        worker = organization_worker("a", folder, own)
        sweeps = {
            "ORCHESTRATOR_BROKER_URL": used.credentials.maintenance,
            "ORCHESTRATOR_DATABASE_URL": f"postgresql://{nowhere}/none",
            "ORCHESTRATOR_DUE_RETRY_PERIOD": "200ms",
        }
        beat = WorkerContainer("maintenance", QUEUE, ["beat"], folder, sweeps)
        for container in (worker, beat):
            running.callback(container.teardown)
            container.start()
        for container in (worker, beat):
            container.ready()
        yield Refusing(server, proxy, used, [worker, beat])
        for container in (worker, beat):
            print(container.logs()[-10_000:])


REFUSALS = {
    "READONLY": (["REPLICAOF", HOST, "1"], ["REPLICAOF", "NO", "ONE"]),
    "OOM": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
    "NOPERM": (["ACL", "SETUSER", "{}", "-brpop", "-lpush"], ["ACL", "SETUSER", "{}", "+brpop", "+lpush"]),
    "MASTERDOWN": (
        ["CONFIG", "SET", "replica-serve-stale-data", "no"],
        ["CONFIG", "SET", "replica-serve-stale-data", "yes"],
    ),
}


ANSWERS = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
}
"""What a server has too little to do in a test to say by itself."""


@contextmanager
def refused(refusing: Refusing, kind: str) -> Iterator[None]:
    """Have the broker refuse what it is asked, for as long as the block lasts."""
    if kind in ANSWERS:
        refusing.proxy.error = ANSWERS[kind]
        try:
            yield
            assert refusing.proxy.refused
        finally:
            refusing.proxy.error = ""
        return
    begin, end = REFUSALS[kind]
    accounts = ["org.a", "maintenance", "relay"] if "{}" in begin else [""]
    with redis.Redis.from_url(refusing.server.url) as client:

        def tell(words: list[str]) -> None:
            for account in accounts:
                client.execute_command(*(word.format(account) for word in words))

        tell(begin)
        if kind == "MASTERDOWN":
            client.execute_command("REPLICAOF", HOST, "1")
        try:
            yield
        finally:
            if kind == "MASTERDOWN":
                client.execute_command("REPLICAOF", "NO", "ONE")
            tell(end)


@pytest.mark.parametrize("kind", [*REFUSALS, *ANSWERS])
def test_a_broker_that_refuses_for_a_while_is_waited_for(refusing: Refusing, database: Database, kind: str) -> None:
    """It becomes a replica, is full, loads, or has other accounts for a moment: all who use it wait and go on."""
    server, _, used, containers = refusing
    pids = [container.process.pid for container in containers]
    begun, key = len(containers[1].logs()), uuid.uuid4()
    relay = Relay(database, Brokers(None, lambda: {"b": used.writing("b")}))
    relay.send("org.b")
    with refused(refusing, kind):
        database.run("b", "channel", lambda transaction: transaction.pokes.run("org.b", key, 1))
        with pytest.raises((kombu.exceptions.OperationalError, redis.RedisError)):
            relay.send("org.b")
        # redis-py knows LOADING by itself, and says it in other words.
        answer = "dataset in memory" if kind == "LOADING" else "broker answers"
        wait_until(lambda: answer in containers[1].logs()[begun:], timeout=30, message="a refusal")
    resumed = len(containers[1].logs())
    wait_until(lambda: relay.send("org.b") == 1, timeout=60, message="the poke to be sent")
    relay.close()
    with redis.Redis.from_url(server.url) as client:
        last = uuid.uuid4().hex.encode()
        client.lpush("{org.a}:org.a", last)
        digest = sha256(last).hexdigest()
        wait_until(lambda: digest in containers[0].logs(), timeout=30, message="the worker to read its queue")
    wait_until(lambda: '"sweep.due_retries"' in containers[1].logs()[resumed:], timeout=60, message="sweeps again")
    assert [container.process.pid for container in containers] == pids
    assert [container.status for container in containers] == ["running", "running"]
    assert receive(used.url("b"), "b") == {"task": str(key), "attempt": 1}


def test_a_flood_of_one_account_on_redis_does_not_stop_the_others(tmp_path: Path) -> None:
    """What it may do at all, it does much of: long messages to itself that it does not read, and long questions."""
    server = RedisServer(debian(), tmp_path)
    with ExitStack() as held:
        server.start()
        held.callback(server.stop)
        used = provisioned(Broker(server.url, (), {}), tmp_path)
        with server.client() as administrator:
            administrator.config_set("maxmemory", "64mb")
            administrator.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 1")
        channel = f"{pokes.key_prefix('org.a')}/0.celery.pidbox"
        flood = held.enter_context(redis.Redis.from_url(used.url("a"), socket_timeout=5))
        for _ in range(20):
            deaf = held.enter_context(redis.Redis.from_url(used.url("a"))).pubsub()
            deaf.psubscribe(channel)

        def sends(task: str) -> bool:
            # As the relay does: what is refused is sent again.
            with suppress(redis.RedisError, kombu.exceptions.OperationalError):
                send(used.writing("b"), "b", task)
                return True
            return False

        for number in range(200):
            with suppress(redis.RedisError):
                flood.publish(channel, b"x" * 900_000)
            with suppress(redis.RedisError):
                flood.execute_command("BRPOP", *["{org.a}:org.a"] * 20_000, "0.001")
            if number % 20 == 0:
                task = str(uuid.uuid4())
                wait_until(lambda task=task: sends(task), timeout=60, message="a poke to be sent")
                assert receive(used.url("b"), "b") == {"task": task, "attempt": 1}


LOW = Limits(connections=4, channels=8, queues=4, messages=10, size=100_000)


def test_a_flood_of_one_account_on_rabbitmq_does_not_stop_the_others(
    on_rabbitmq: Provisioned, rabbitmq: RabbitMQ
) -> None:
    made = credentials.make(rabbitmq.url, ["flood"])
    mine = credentials.Credentials(
        made.organizations, on_rabbitmq.credentials.maintenance, on_rabbitmq.credentials.flower
    )
    provision(rabbitmq.url, mine, management_url=rabbitmq.management_url, limits=LOW)
    url = made.organizations["flood"]

    def confirmed(body: str) -> None:
        channel.basic_publish_confirm(amqp.Message(body), routing_key="org.flood", confirm_timeout=5)

    def connect_often() -> None:
        for _ in range(10):
            held.enter_context(app.connection_for_write()).connect()

    def declare_much() -> None:
        for number in range(10):
            channel.queue_declare(f"more-{number}", durable=True, auto_delete=False)

    with ExitStack() as held, speaking(url, "flood") as app:
        opened = held.enter_context(app.connection_for_write())
        opened.connect()
        channel = opened.default_channel
        app.amqp.queues["org.flood"](channel).declare()
        # Some more than the limit get in before the node has told itself, so a few are tolerated.
        refused = 0
        for number in range(40):
            try:
                confirmed(str(number))
            except amqp.exceptions.MessageNacked:
                refused += 1
        assert refused > 10
        with pytest.raises((amqp.exceptions.AMQPError, OSError)):
            connect_often()
        with pytest.raises(amqp.exceptions.AMQPError):
            declare_much()
        task = str(uuid.uuid4())
        send(on_rabbitmq.url("b"), "b", task)
        assert receive(on_rabbitmq.url("b"), "b") == {"task": task, "attempt": 1}
    provision(rabbitmq.url, on_rabbitmq.credentials, management_url=rabbitmq.management_url)


@pytest.fixture(scope="module")
def secure(certificates: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that speaks TLS alone, with a certificate of an authority that the system does not know."""
    # On an address, too, that its certificate does not bear.
    both = ("--bind", HOST, ELSEWHERE)
    server = RedisServer(debian(), tmp_path_factory.mktemp("secure"), *both, certificates=certificates)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def reaches(url: str) -> bool:
    with speaking(url, "a") as app, app.connection_for_read() as opened:
        opened.connect()
        return bool(opened.connected)


def test_the_certificate_of_a_redis_is_verified(secure: RedisServer, certificates: Layout) -> None:
    url = f"rediss://{HOST}:{secure.port}/0"
    with pytest.raises((redis.RedisError, kombu.exceptions.OperationalError), match="CERTIFICATE_VERIFY_FAILED"):
        reaches(url)
    known = f"ssl_ca_certs={certificates.server.authority}"
    assert reaches(f"{url}?{known}")
    elsewhere = f"rediss://{ELSEWHERE}:{secure.port}/0"
    with pytest.raises((redis.RedisError, kombu.exceptions.OperationalError), match="mismatch"):
        reaches(f"{elsewhere}?{known}")
    assert reaches(f"{elsewhere}?{known}&ssl_check_hostname=false")


def test_a_verification_that_is_turned_off_is_said(secure: RedisServer) -> None:
    with structlog.testing.capture_logs() as logs:
        assert reaches(f"rediss://{HOST}:{secure.port}/0?ssl_cert_reqs=none")
    assert [entry["host"] for entry in logs if entry["event"] == "broker.unverified"] == [HOST]
    with structlog.testing.capture_logs() as logs:
        connection.settings(f"rediss://{HOST}/0", "a")
        connection.settings(f"redis://{HOST}/0", "a")
    assert not logs


def test_the_certificate_of_a_rabbitmq_is_verified(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.secure_url
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        reaches(f"{url}//")
    assert reaches(f"{url}//?ssl_ca_certs={rabbitmq.certificates.server.authority}")
    assert reaches(f"{url}//?ssl_cert_reqs=none")
