"""What comes over a broker and is no message: neither a worker nor the beat ends, and it does not stay in the queue."""

import base64
import hashlib
import json
import socket
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from struct import pack
from typing import Any

import amqp
import pytest
import redis
from celery import Celery
from kombu import Connection

from beat.app import QUEUE
from orchestrator.broker import monitor
from orchestrator.core import pokes
from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.ports import HOST, free_port
from tests.kit.brokers.accounts import Provisioned, elsewhere
from tests.kit.containers import WorkerContainer, organization_worker
from tests.kit.waiting import wait_until

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)

DEEP = "[" * 100_000
KEY = str(uuid.uuid4())


@dataclass(frozen=True)
class Shape:
    """A message; by default one that all is right with, but that its arguments are none."""

    body: bytes = b"[[], {}, {}]"
    headers: dict[str, Any] = field(default_factory=dict)
    content_type: str | None = "application/json"
    content_encoding: str | None = "utf-8"
    task: str | None = None
    identity: Any = field(default_factory=lambda: str(uuid.uuid4()))

    def named(self, task: str) -> dict[str, Any]:
        """Return its headers; it names a task of the worker if it names no other."""
        return {"task": self.task or task, "id": self.identity, **self.headers}


def arguments(*positional: object, **keywords: object) -> bytes:
    return json.dumps([positional, keywords, {}]).encode()


SHAPES = {
    "a number": Shape(b"42"),
    "null": Shape(b"null"),
    "no triple": Shape(b"[1, 2]"),
    "a triple of others": Shape(b'["a", "b", "c"]'),
    "an object": Shape(b'{"args": [], "kwargs": {}}'),
    "nothing": Shape(b""),
    "raw text": Shape(b"hello", content_type="text/plain"),
    "no content type": Shape(content_type=None),
    "no content encoding": Shape(b"\xff\xfe", content_encoding=None),
    "a made up encoding": Shape(b"\xff", content_encoding="made-up"),
    "no UTF-8": Shape(b'["\xff\xfe", {}, {}]'),
    "nested": Shape(DEEP.encode()),
    "a long number": Shape(b"[[" + b"1" * 50_000 + b"], {}, {}]"),
    "pickle": Shape(b"cos\nsystem\n(S'true'\ntR.", content_type="application/x-python-serialize"),
    "an unknown task": Shape(task="made.up"),
    "a task of Celery's": Shape(task="celery.backend_cleanup"),
    "a task that is a list": Shape(headers={"task": ["x"]}),
    "no task": Shape(headers={"task": None}),
    "no id": Shape(identity=None),
    "an id that is a number": Shape(identity=42),
    "an id that is no ASCII": Shape(identity="é" * 36),
    "a long id": Shape(identity="x" * 100_000),
    "absurd arguments": Shape(arguments(1, 2, 3)),
    "absurd keywords": Shape(arguments(other=1)),
    "an argument of another kind": Shape(arguments(task={"a": 1}, attempt="x")),
    "a large argument": Shape(arguments(task=KEY, attempt=1 << 40)),
    "Kombu's own objects": Shape(b'[[], {"__type__": "decimal", "__value__": "x"}, {}]'),
    "much": Shape(arguments("x" * 100_000)),
    "compressed": Shape(zlib.compress(b"0" * 10_000_000), headers={"compression": "application/x-gzip"}),
    "protocol 1": Shape(json.dumps({"task": RUN_TASK, "id": "x", "args": 42}).encode(), headers={"task": None}),
    "an expiry that is none": Shape(headers={"expires": {"a": 1}}, body=arguments(task=KEY, attempt=1)),
}

ENVELOPES = {
    "42": b"42",
    "null": b"null",
    "list": b"[]",
    "text": b"hello",
    "bytes": b"\xff\xfe\x00",
    "empty": b"",
    "object": b"{}",
    "nested": DEEP.encode(),
    "much": b" " * 200_000 + b"x" * 100_000,
}


def envelope(shape: Shape, task: str, **more: Any) -> dict[str, Any]:
    """Return a message as Kombu puts it on a Redis."""
    return {
        "body": base64.b64encode(shape.body).decode(),
        "headers": shape.named(task),
        "content-type": shape.content_type,
        "content-encoding": shape.content_encoding,
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "x", "routing_key": "x"},
            **more,
        },
    }


def bent(task: str) -> Iterator[bytes]:
    """Yield envelopes each of which is wrong in one place."""
    for more in (
        {"delivery_tag": None},
        {"delivery_tag": ["a"]},
        {"delivery_tag": {}},
        {"body_encoding": "made-up"},
        {"delivery_info": None},
        {"delivery_info": {"exchange": {}, "routing_key": []}},
    ):
        yield json.dumps(envelope(Shape(), task, **more)).encode()
    for name in ("body", "headers", "properties", "content-type"):
        for value in (None, 42, [1], "!", {"a": 1}):
            # These two are envelopes, of messages that are none.
            if (name, value) not in (("headers", {"a": 1}), ("content-type", "!")):
                yield json.dumps({**envelope(Shape(), task), name: value}).encode()
        whole = envelope(Shape(), task)
        del whole[name]
        yield json.dumps(whole).encode()


class Malformed(amqp.Message):  # type: ignore[misc]
    """A message whose content type is no UTF-8."""

    def _serialize_properties(self) -> bytes:
        return pack(">H", 1 << 15) + b"\x02\xff\xfe"


@dataclass(frozen=True)
class Victim:
    """A worker or a beat that runs, and how its queue and its remote control are reached."""

    container: WorkerContainer
    broker: Provisioned
    account: str
    queue: str
    task: str

    @property
    def on_redis(self) -> bool:
        return pokes.on_redis(self.broker.broker.url)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        url = self.broker.url("a") if self.account != pokes.MAINTENANCE else self.broker.credentials.maintenance
        with Connection(url) as opened:
            yield opened.default_channel

    def send(self, shape: Shape) -> tuple[bytes, ...]:
        """Put a message into its queue; return what its digest may be of: the body, or all of it."""
        if self.on_redis:
            whole = json.dumps(envelope(shape, self.task)).encode()
            self.put(whole)
            return shape.body, whole
        with self._channel() as channel:
            properties = {"content_type": shape.content_type, "content_encoding": shape.content_encoding}
            headers = {name: value for name, value in shape.named(self.task).items() if value is not None}
            channel.basic_publish(
                amqp.Message(shape.body, application_headers=headers, **properties), routing_key=self.queue
            )
        return (shape.body,)

    def send_malformed(self) -> None:
        """Put a message into its queue whose properties are none."""
        with self._channel() as channel:
            channel.basic_publish(Malformed(b"x"), routing_key=self.queue)

    def put(self, content: bytes) -> None:
        """Put bytes into its list on a Redis."""
        with redis.Redis.from_url(self.broker.broker.url) as client:
            client.lpush(pokes.key_prefix(self.account) + self.queue, content)

    def tell(self, content: bytes) -> None:
        """Put bytes where its remote control listens."""
        if self.on_redis:
            with redis.Redis.from_url(self.broker.broker.url) as client:
                client.publish(f"{pokes.key_prefix(self.account)}/0.celery.pidbox", content)
            return
        with self._channel() as channel:
            properties = {"content_type": "application/json", "content_encoding": "utf-8"}
            channel.basic_publish(amqp.Message(content, **properties), exchange="celery.pidbox")

    def waiting(self) -> int:
        """Return how many messages nobody has taken or acknowledged."""
        if self.on_redis:
            with redis.Redis.from_url(self.broker.broker.url) as client:
                return int(client.llen(pokes.key_prefix(self.account) + self.queue))
        with self._channel() as channel:
            return int(channel.queue_declare(self.queue, passive=True).message_count)

    def reads_on(self) -> None:
        """Wait until it has read a last message, which is none either."""
        last = uuid.uuid4().hex.encode()
        self.send(Shape(last))
        wait_until(lambda: self.said(last), timeout=30, message="the last message to be refused")
        wait_until(lambda: self.waiting() == 0, message="an empty queue")
        assert self.container.status == "running"

    def said(self, *contents: bytes) -> bool:
        """Say whether it has named one of these by its digest."""
        log = self.container.logs()
        return any(hashlib.sha256(content).hexdigest() in log for content in contents)

    def answers(self, question: Callable[[Any], Any]) -> Any:
        """Return its answer to Flower."""
        flower = self.broker.credentials.flower
        accounts = [pokes.MAINTENANCE, pokes.account("a")]
        url = flower if self.on_redis or self.account == pokes.MAINTENANCE else elsewhere(flower, "a")
        with Celery("test", set_as_current=False) as app:
            app.conf.update(monitor.settings(url, accounts))
            inspect = app.control.inspect([self.container.node], timeout=30, limit=1)
            return (question(inspect) or {}).get(self.container.node)


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def used(request: pytest.FixtureRequest) -> Provisioned:
    """Each broker."""
    found: Provisioned = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture(scope="module")
def victims(used: Provisioned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Victim]]:
    folder = tmp_path_factory.mktemp("victims")
    nowhere = f"{HOST}:{free_port()}"
    worker = organization_worker(
        "a",
        folder,
        {
            "ORCHESTRATOR_ADDRESS": nowhere,
            "ORCHESTRATOR_BROKER_URL": used.url("a"),
            "ORCHESTRATOR_CHANNELS": "channel",
        },
    )
    sweeper = WorkerContainer(
        "maintenance",
        QUEUE,
        ["beat", "--no-schedule"],
        folder,
        {
            "ORCHESTRATOR_BROKER_URL": used.credentials.maintenance,
            "ORCHESTRATOR_DATABASE_URL": f"postgresql://{nowhere}/none",
        },
        host=socket.gethostname(),
    )
    with ExitStack() as running:
        for container in (worker, sweeper):
            running.callback(container.teardown)
            container.start()
        for container in (worker, sweeper):
            container.ready()
        yield {
            "worker": Victim(worker, used, pokes.account("a"), pokes.queue("a"), RUN_TASK),
            "beat": Victim(sweeper, used, pokes.MAINTENANCE, QUEUE, "sweep.due_retries"),
        }
        for container in (worker, sweeper):
            print(container.logs()[-20_000:])


@pytest.fixture(params=["worker", "beat"])
def victim(request: pytest.FixtureRequest, victims: dict[str, Victim]) -> Victim:
    return victims[request.param]


def test_what_is_no_message_is_removed_and_named_by_its_digest(victim: Victim) -> None:
    sent = {name: victim.send(shape) for name, shape in SHAPES.items()}
    victim.reads_on()
    assert [name for name, contents in sent.items() if not victim.said(*contents)] == []
    log = victim.container.logs()
    assert '"reason": "no triple"' in log
    assert [content for content in ("made.up", "cos", "hello", "decimal") if content in log] == []


def test_what_is_no_envelope_is_removed_and_named_by_its_digest(victim: Victim) -> None:
    if not victim.on_redis:
        pytest.skip("RabbitMQ has its own envelopes")
    contents = [*ENVELOPES.values(), *bent(victim.task)]
    for content in contents:
        victim.put(content)
    victim.reads_on()
    assert [content for content in contents if not victim.said(content)] == []


def test_properties_that_are_none_are_removed(victim: Victim) -> None:
    if victim.on_redis:
        pytest.skip("of RabbitMQ's")
    victim.send_malformed()
    victim.reads_on()
    assert '"source": "properties"' in victim.container.logs()


COMMANDS = {
    "shutdown": {},
    "pool_grow": {"n": 3},
    "pool_shrink": {"n": 1},
    "pool_restart": {"modules": ["os"]},
    "autoscale": {"max": 9, "min": 9},
    "add_consumer": {"queue": "other"},
    "cancel_consumer": {"queue": "org.a"},
    "rate_limit": {"task_name": RUN_TASK, "rate_limit": "1/h"},
    "time_limit": {"task_name": RUN_TASK, "hard": 1},
    "revoke": {"task_id": KEY, "terminate": True},
    "terminate": {"task_id": KEY, "signal": "KILL"},
    "disable_events": {},
    "election": {"id": "x", "topic": "task"},
    "objgraph": {},
    "memdump": {},
    "report": {},
    "hello": {"from_node": "x", "revoked": {KEY: 1.0}},
}


def command(method: object, arguments: object = None, **more: object) -> bytes:
    """Return a command of remote control."""
    return json.dumps({"method": method, "arguments": arguments, "destination": None, **more}).encode()


def told(victim: Victim, content: bytes) -> bytes:
    """Return what goes to its remote control on its broker."""
    if not victim.on_redis:
        return content
    return json.dumps({**envelope(Shape(content), ""), "headers": {"clock": 1, "expires": 0}}).encode()


def test_a_worker_obeys_no_command_that_changes_something(victim: Victim) -> None:
    before = victim.answers(lambda inspect: inspect.stats())["pool"]
    queues = victim.answers(lambda inspect: inspect.active_queues())
    for method, keywords in COMMANDS.items():
        victim.tell(told(victim, command(method, keywords)))
    wait_until(
        lambda: all(victim.said(command(method, keywords)) for method, keywords in COMMANDS.items()),
        timeout=30,
        message="all commands to be refused",
    )
    after = victim.answers(lambda inspect: inspect.stats())["pool"]
    assert (after["processes"], after["max-concurrency"]) == (before["processes"], before["max-concurrency"])
    assert victim.answers(lambda inspect: inspect.active_queues()) == queues
    assert not victim.answers(lambda inspect: inspect.revoked())
    victim.reads_on()


def test_flower_cannot_command(victim: Victim) -> None:
    flower = victim.broker.credentials.flower
    url = flower if victim.on_redis or victim.account == pokes.MAINTENANCE else elsewhere(flower, "a")
    with Celery("test", set_as_current=False) as app:
        app.conf.update(monitor.settings(url, [pokes.MAINTENANCE, pokes.account("a")]))
        app.control.shutdown()
        app.control.pool_grow(5)
        app.control.cancel_consumer(victim.queue)
    pool = victim.answers(lambda inspect: inspect.stats())["pool"]
    assert len(pool["processes"]) == 1
    victim.reads_on()


def test_its_remote_control_lives_through_what_is_no_command(victim: Victim) -> None:
    contents = [
        b"42",
        b"null",
        b"[1]",
        b"{}",
        b"hello",
        b"\xff\xfe",
        DEEP.encode(),
        b'{"__type__": "decimal", "__value__": "x"}',
        command(["ping"]),
        command("ping", [1]),
        command("ping", destination=[[1]]),
        command("ping", pattern="(a+)+$", matcher="pcre"),
        command("ping", pattern=42, matcher="glob"),
        command("ping", reply_to=42, ticket="x"),
        command("ping", reply_to={"exchange": victim.queue, "routing_key": victim.queue}, ticket="x"),
        command("ping", reply_to={"exchange": "reply.celery.pidbox", "routing_key": ["x"]}, ticket=4),
    ]
    whole = [told(victim, content) for content in contents]
    raw = [*ENVELOPES.values(), *bent("x")] if victim.on_redis else []
    for content in (*whole, *raw):
        victim.tell(content)
    assert victim.answers(lambda inspect: inspect.ping()) == {"ok": "pong"}
    refused = [*zip(contents, whole, strict=True), *((content, content) for content in raw if content)]
    assert [pair for pair in refused if not victim.said(*pair)] == []
    victim.reads_on()


def test_what_celery_would_obey_in_a_message_is_not_looked_at(victims: dict[str, Victim]) -> None:
    """A good message with orders in its headers and its third part: none of them is followed."""
    victim = victims["beat"]
    body = json.dumps([[], {}, {"callbacks": [{"task": "celery.x"}], "chain": [{"task": "x"}], "chord": {}}]).encode()
    headers = {
        "eta": "2999-01-01T00:00:00",
        "timelimit": ["x", {}],
        "retries": "many",
        "shadow": "hidden\u001b[2J",
        "argsrepr": "made up",
        "root_id": {"a": 1},
        "stamps": {"x": 1},
        "replaced_task_nesting": "x",
    }
    # Its database is away: so a sweep says that it ran.
    ran = victim.container.logs().count("sweep.put_off")
    victim.send(Shape(body, headers=headers))
    wait_until(lambda: victim.container.logs().count("sweep.put_off") > ran, timeout=60)
    assert "hidden" not in victim.container.logs()
    assert "made up" not in victim.container.logs()
    victim.reads_on()


def test_what_an_organization_says_is_no_end_of_flower(used: Provisioned, victims: dict[str, Victim]) -> None:
    """Events that are none, among those of a worker: whoever listens hears the worker still."""
    heard: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        heard.append(event["hostname"])
        receiver.should_stop = victims["worker"].container.node in heard

    on_redis = pokes.on_redis(used.broker.url)
    url = used.credentials.flower if on_redis else elsewhere(used.credentials.flower, "a")
    with Celery("test", set_as_current=False) as app:
        app.conf.update(monitor.settings(url, [pokes.account("a")]))
        with app.connection_for_read() as listening:
            receiver = app.events.Receiver(listening, handlers={"*": on_event})
            with Connection(used.url("a")) as saying:
                if on_redis:
                    prefix = pokes.key_prefix(pokes.account("a"))
                    say = redis.Redis.from_url(used.url("a"))
                    contents = [
                        told(victims["worker"], content) for content in (b"42", b"{}", b'{"type": 42}', b"\xff")
                    ]
                    publish = [
                        lambda content=content: say.publish(f"{prefix}/0.celeryev/worker.x", content)
                        for content in (*ENVELOPES.values(), *contents)
                    ]
                else:
                    publish = [
                        lambda content=content: saying.default_channel.basic_publish(
                            amqp.Message(content, content_type="application/json", content_encoding="utf-8"),
                            exchange="celeryev",
                            routing_key="worker.x",
                        )
                        for content in (b"42", b"{}", b'{"type": 42}', b"\xff")
                    ]
                for limit in range(3):
                    for one in publish:
                        one()
                    receiver.should_stop = False
                    receiver.capture(limit=None, timeout=60, wakeup=limit == 0)
    assert victims["worker"].container.node in heard
