"""The topics of federated runs, on a light broker and on a real Kafka."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from orchestrator.embedded.ports import free_port
from tests.kit.brokers.tansu import tansu
from tests.kit.waiting import wait_until
from workers.runtime import kafka
from workers.runtime.errors import RefusedError, UnreachableError
from workers.runtime.kafka import STATUS, Kafka, KafkaSettings


def topics(address: str, **settings: Any) -> Kafka:
    given = {"kafka_bootstrap_servers": address, "kafka_timeout": 20, **settings}
    # By their environment names, as an operator gives them.
    return Kafka(KafkaSettings(**{name.upper(): value for name, value in given.items()}))


def adapter() -> str:
    return f"{uuid.uuid4().int % 10**6}_-SEP-_2026-11-26_21-26-44.108113_00-00_-SEP-_"


def admin(address: str) -> AdminClient:
    """Somebody else; it must live until its answers have come."""
    return AdminClient({"bootstrap.servers": address, "log_level": 0})


def configs(address: str, name: str) -> dict[str, str]:
    """What a topic was given, by Kafka's own word."""
    client = admin(address)
    [answered] = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)]).values()
    wanted = ("cleanup.policy", "compression.type", "max.message.bytes")
    return {name: each.value for name, each in answered.result(60).items() if name in wanted}


@pytest.fixture(params=["light", "real"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A broker on which nobody has made a topic that runs share, as the light one does when it is asked for it."""
    if request.param == "real":
        yield request.getfixturevalue("real_kafka")
        return
    with tansu(tmp_path) as address:
        yield address


def test_topics_are_made_to_the_letter_and_removed(address):
    mine, other = adapter(), adapter()
    made = topics(address, kafka_max_message_bytes=5_000_000)
    manager, clients = kafka.pair(mine)
    assert (manager, clients) == (f"{mine}_models_to_manager", f"{mine}_models_to_clients")
    made.make(mine)
    # A crash before the workflow was posted: all is made again.
    made.make(mine)
    made.make(other)
    # A broker may learn a little later what its controller has made.
    wait_until(lambda: {STATUS, manager, clients, *kafka.pair(other)} <= {*made.names()}, 60)
    shared = configs(address, STATUS)
    assert {*shared.pop("cleanup.policy").split(",")} == {"compact", "delete"}
    assert shared["compression.type"] == "uncompressed"
    for name in (manager, clients):
        own = configs(address, name)
        assert {*own.pop("cleanup.policy").split(",")} == {"compact", "delete"}
        assert own == {"compression.type": "gzip", "max.message.bytes": "5000000"}
    somebody = admin(address)
    described = somebody.list_topics(timeout=20).topics
    assert [len(described[name].partitions) for name in (STATUS, manager, clients)] == [1, 1, 1]
    [gone] = somebody.delete_topics([clients]).values()
    gone.result(60)
    # One of a pair that is gone keeps nothing else from going.
    assert made.remove(mine) == [manager]
    wait_until(lambda: not {manager, clients} & {*made.names()}, 60)
    assert made.remove(mine) == []
    assert {STATUS, *kafka.pair(other)} <= {*made.names()}
    assert made.remove(other) == [*kafka.pair(other)]


def test_what_kafka_refuses_is_told_from_what_does_not_answer(real_kafka):
    with pytest.raises(RefusedError, match=r"does not make a/b_models_to_manager: .*invalid"):
        topics(real_kafka).make("a/b")
    with pytest.raises(UnreachableError, match=r"(?i)replication factor"):
        topics(real_kafka, kafka_replication_factor=3).make(adapter())


def test_a_pair_that_exists_stays_as_somebody_made_it(light_kafka):
    mine = adapter()
    manager, _ = kafka.pair(mine)
    somebody = admin(light_kafka)
    [made] = somebody.create_topics([NewTopic(manager, 2)]).values()
    made.result(60)
    topics(light_kafka).make(mine)
    assert len(somebody.list_topics(timeout=20).topics[manager].partitions) == 2


def test_a_kafka_that_is_away_does_not_answer():
    away = topics(f"127.0.0.1:{free_port()}", kafka_timeout=0.5)
    for call in (away.names, lambda: away.make("7"), lambda: away.remove("7")):
        with pytest.raises(UnreachableError, match="Kafka at 127"):
            call()


def test_more_properties_are_read_and_not_repeated(light_kafka, tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text("# as of the operator\nsecurity.protocol=plaintext\n\nclient.id = somebody\n")
    assert isinstance(topics(light_kafka, kafka_client_config=file).names(), list)
    file.write_text("sasl.password hunter2\n")
    with pytest.raises(RefusedError, match="line 1: not name=value") as refused:
        topics(light_kafka, kafka_client_config=file).names()
    assert "hunter2" not in str(refused.value)
    file.write_text("no.such.property=hunter2\n")
    with pytest.raises(RefusedError, match=r"no\.such\.property") as refused:
        topics(light_kafka, kafka_client_config=file).names()
    assert "hunter2" not in str(refused.value)


def test_what_was_made_just_now_is_removed_though_it_is_not_listed_yet(real_kafka):
    made, adapters = topics(real_kafka), [adapter() for _ in range(5)]
    for each in adapters:
        made.make(each)
        made.remove(each)
    gone = {name for each in adapters for name in kafka.pair(each)}
    wait_until(lambda: not gone & {*made.names()}, 60)
