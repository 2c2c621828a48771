"""A broker that falls silent, as behind a firewall that forgot the connection, is noticed by everybody who uses it."""

import socket

import pytest
from celery import Celery

from orchestrator.broker import connection, monitor
from orchestrator.core import pokes
from orchestrator.dispatch.brokers import Brokers
from tests.kit.brokers.accounts import Provisioned

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)


def connected(app: Celery) -> tuple[int, ...]:
    """Connect; return after how long silence counts as loss: while it waits, and while it waits for an answer."""
    with app.connection() as made:
        if pokes.on_redis(app.conf.broker_url):
            sock = made.default_channel.client.connection_pool.get_connection()._sock
        else:
            sock = made.connection.sock
        asked = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return tuple(sock.getsockopt(socket.IPPROTO_TCP, each) for each in asked)


@pytest.mark.parametrize("broker", ["valkey", "rabbitmq"])
def test_every_connection_notices_silence_within_seconds(broker: str, request: pytest.FixtureRequest) -> None:
    used: Provisioned = request.getfixturevalue(f"on_{broker}")
    worker, beat = Celery("worker", set_as_current=False), Celery("beat", set_as_current=False)
    worker.conf.update(connection.queue(used.url("a"), pokes.queue("a")))
    beat.conf.update(connection.settings(used.credentials.maintenance, pokes.MAINTENANCE))
    flower = monitor.flower_app(used.credentials.flower, ["a"])
    relay = Brokers(None, lambda: {"a": used.writing("a")}).app(pokes.queue("a"))
    for app in (worker, beat, flower, relay):
        assert connected(app) == (5, 2, 3, 8000), app.main
        app.close()
