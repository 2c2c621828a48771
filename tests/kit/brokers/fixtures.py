"""Brokers that are started once: a Valkey and a RabbitMQ, each with the accounts of two organizations, and Kafkas."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.embedded.valkey import Valkey
from tests.kit.brokers.accounts import Broker, Provisioned, provisioned
from tests.kit.brokers.kafka import kafka
from tests.kit.brokers.rabbitmq import RabbitMQ, programs
from tests.kit.brokers.tansu import tansu
from tests.kit.debian import AbsentError


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ; installed if it is missing and we may, else the test is skipped."""
    try:
        folder = programs()
    except AbsentError as error:
        pytest.skip(f"needs RabbitMQ: {error}")
    server = RabbitMQ(folder)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def on_rabbitmq(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Provisioned:
    """RabbitMQ with accounts, made by rabbitmqctl."""
    arguments = ["--rabbitmqctl", str(rabbitmq.programs / "rabbitmqctl")]
    broker = Broker(rabbitmq.url, arguments, rabbitmq.environment)
    return provisioned(broker, tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def on_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    """A Valkey of this folder's own, with accounts."""
    folder: Path = tmp_path_factory.mktemp("valkey")
    with Valkey(folder / "server") as server:
        yield provisioned(Broker(server.url, (), {}), folder)


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Provisioned:
    """Each broker."""
    found: Provisioned = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture(scope="session")
def light_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a light broker that speaks Kafka's protocol."""
    with tansu(tmp_path_factory.mktemp("tansu")) as address:
        yield address


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a Kafka; fetched if it is missing and can be, else the test is skipped."""
    with ExitStack() as running:
        try:
            address = running.enter_context(kafka(tmp_path_factory.mktemp("kafka")))
        except AbsentError as error:
            pytest.skip(f"needs Kafka: {error}")
        yield address
