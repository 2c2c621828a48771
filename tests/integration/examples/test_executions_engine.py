"""The program of the executions' example, where the world is not as it should be, and what it says over Kafka."""

import importlib
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from confluent_kafka import Consumer, TopicPartition

from examples.executions import data
from workers.runtime.kafka import Kafka, KafkaSettings, pair

ENGINE = Path(data.__file__).parent / "engine"
PARTNERS = ("p-1", "p-2")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The modules `exchange` and `execution`, found as the program finds them."""
    monkeypatch.syspath_prepend(str(ENGINE))
    found = ModuleType("engine")
    for name in ("exchange", "execution"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        setattr(found, name, importlib.import_module(name))
    yield found
    for name in ("exchange", "execution"):
        del sys.modules[name]


@pytest.fixture
def adapter(light_kafka: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a run whose topics are there."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", light_kafka)
    name = f"7_-SEP-_{uuid.uuid4()}_-SEP-_"
    Kafka(KafkaSettings()).make(name)
    return name


def heard(bootstrap: str, topic: str) -> list[tuple[str, bytes | None, dict[str, str]]]:
    """All messages of a topic: key, value, headers."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"test-{uuid.uuid4()}"})
    try:
        _, last = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[str, bytes | None, dict[str, str]]] = []
        seen = 0
        while seen < last:
            message = consumer.poll(10)
            assert message is not None
            assert not message.error()
            seen = message.offset() + 1
            headers = {name: value.decode() for name, value in message.headers()}
            found.append((message.key().decode(), message.value(), headers))
        return found
    finally:
        consumer.close()


def test_a_federated_run_says_what_the_contract_says(engine: ModuleType, light_kafka: str, adapter: str) -> None:
    iterations = 2

    def manage() -> dict[str, bytes]:
        side = engine.exchange.Exchange(light_kafka, adapter)
        side.tell_ready()
        side.await_clients(PARTNERS)
        for iteration in range(iterations):
            trained = side.gathered(PARTNERS, iteration)
            side.send(b"+".join(trained[partner] for partner in PARTNERS), iteration)
        return side.gathered(PARTNERS, iterations)

    def take_part(partner: str) -> bytes:
        side = engine.exchange.Exchange(light_kafka, adapter, partner)
        side.tell_ready()
        side.await_manager()
        model = b""
        for iteration in range(iterations):
            side.send(partner.encode(), iteration)
            model = side.merged(iteration)
        side.send(b"{}", iterations)
        return model

    with ThreadPoolExecutor(3) as threads:
        managing = threads.submit(manage)
        models = list(threads.map(take_part, PARTNERS))
        assert managing.result(60) == dict.fromkeys(PARTNERS, b"{}")
    assert models == [b"p-1+p-2"] * 2
    status = [(key, value, headers) for key, value, headers in heard(light_kafka, "status") if key.startswith(adapter)]
    assert Counter((key.removeprefix(adapter), value, headers["message_name"]) for key, value, headers in status) == {
        ("", b"true", "manager_initialization"): 1,
        **{(f"///MESSAGE_SEP///{partner}", b"true", "client_initialization"): 1 for partner in PARTNERS},
    }
    to_manager, to_clients = (heard(light_kafka, topic) for topic in pair(adapter))
    assert Counter(
        (key.removeprefix(adapter), headers["message_name"], headers["iteration_index"])
        for key, _, headers in to_manager
    ) == {
        (f"///MESSAGE_SEP///{partner}", "ended_iteration", str(iteration)): 1
        for partner in PARTNERS
        for iteration in range(iterations + 1)
    }
    assert [(key, headers) for key, _, headers in to_clients] == [
        (adapter, {"message_name": "start_iteration", "iteration_index": str(iteration)})
        for iteration in range(iterations)
    ]


def test_a_side_that_gives_up_is_heard_by_the_other(engine: ModuleType, light_kafka: str, adapter: str) -> None:
    engine.exchange.Exchange(light_kafka, adapter, "p-1").tell_failure(0)
    engine.exchange.Exchange(light_kafka, adapter).tell_failure(0)
    with pytest.raises(engine.exchange.ExchangeError, match="p-1 gave up"):
        engine.exchange.Exchange(light_kafka, adapter).gathered(("p-1",), 0)
    with pytest.raises(engine.exchange.ExchangeError, match="the manager gave up"):
        engine.exchange.Exchange(light_kafka, adapter, "p-2").merged(0)


def test_a_download_that_breaks_off_is_gone_on_with(engine: ModuleType) -> None:
    content, asked = bytes(range(100)), []

    class Breaking(BaseHTTPRequestHandler):
        """Hands out forty bytes, and the rest when that is asked for."""

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.headers.get("Range"))
            self.send_response(206 if asked[-1] else 200)
            self.send_header("Content-Length", str(60 if asked[-1] else 100))
            self.end_headers()
            self.wfile.write(content[40:] if asked[-1] else content[:40])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            execution = engine.execution.Execution(f"127.0.0.1:{server.server_port}", 7)
            assert execution.external_data() == content
        finally:
            server.shutdown()
            thread.join()
    assert asked == [None, "bytes=40-100"]
