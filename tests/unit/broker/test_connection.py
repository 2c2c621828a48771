"""What both sides of a queue tell Celery."""

import pytest

from orchestrator.broker import connection


def test_both_sides_are_told_the_same_for_redis_and_valkey():
    settings = connection.queue("redis://host/0", "org.hospital-1")
    assert settings["broker_transport_options"]["global_keyprefix"] == "{org.hospital-1}:"
    assert settings["task_queues"]["org.hospital-1"]["queue_arguments"] is None


@pytest.mark.parametrize("url", ["amqp://host/vhost", "amqps://host/vhost", "pyamqp://host/vhost"])
def test_both_sides_are_told_the_same_for_rabbitmq(url):
    settings = connection.queue(url, "org.hospital-1")
    assert settings["broker_transport_options"]["confirm_publish"] is True
    assert settings["task_queues"]["org.hospital-1"]["queue_arguments"] == {"x-queue-type": "quorum"}
