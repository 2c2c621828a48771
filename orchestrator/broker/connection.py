"""What every process of ours tells Celery of the broker that it connects to."""

from collections.abc import Mapping
from typing import Any

from kombu.transport import TRANSPORT_ALIASES

from orchestrator.broker import tls
from orchestrator.core import liveness, pokes

_CONNECT_SECONDS = 5
# As to the database: one that falls silent is noticed 8 s after it was told something, and after 11 s when it was not.
_LIVELY = liveness.options(idle=5, interval=2, probes=3, unanswered=8)

_ROOM = "orchestrator.broker"
_TRANSPORTS = {
    "redis": f"{_ROOM}.redis_transport:Transport",
    "rediss": f"{_ROOM}.redis_transport:Transport",
    "valkey": f"{_ROOM}.redis_transport:Transport",
    "valkeys": f"{_ROOM}.redis_transport:Transport",
    "amqp": f"{_ROOM}.amqp_transport:Transport",
    "pyamqp": f"{_ROOM}.amqp_transport:Transport",
    "amqps": f"{_ROOM}.amqp_transport:SSLTransport",
}
# Not Celery's `broker_transport`: Kombu forgets it when it turns to the second of several URLs.
TRANSPORT_ALIASES.update(_TRANSPORTS)


READER: Mapping[str, Any] = {
    "worker_prefetch_multiplier": 1,
    "worker_consumer": f"{_ROOM}.consumer:Consumer",
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
    # Nobody may be there to start it again.
    "broker_connection_max_retries": None,
}
"""What every process of ours that reads a queue tells Celery besides."""


def settings(url: str, account: str) -> dict[str, Any]:
    """Return what reaches an account's queues and channels.

    On RabbitMQ what is published is confirmed; on Redis and Valkey every key and channel has the account's prefix. A
    broker that falls silent counts as lost after some seconds.

    Args:
        url: of the broker.
        account: whose: that of an organization, or `pokes.MAINTENANCE`.
    """
    options: dict[str, Any] = (
        {
            "global_keyprefix": pokes.key_prefix(account),
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
            "socket_keepalive_options": _LIVELY,
        }
        if pokes.on_redis(url)
        else {"confirm_publish": True, "socket_settings": _LIVELY}
    )
    return {"broker_url": url, "broker_use_ssl": tls.options(url), "broker_transport_options": options}


def queue(url: str, name: str) -> dict[str, Any]:
    """Return what both sides of a queue, those who read it and the relay, tell Celery.

    On RabbitMQ the queue is a quorum queue.

    Args:
        url: of the broker that holds it.
        name: of the queue: an organization's (`pokes.queue`), or another.
    """
    arguments = None if pokes.on_redis(url) else {"x-queue-type": "quorum"}
    return {
        **settings(url, pokes.account_of(name)),
        "task_queues": {
            name: {"exchange": name, "exchange_type": "direct", "routing_key": name, "queue_arguments": arguments}
        },
        "task_default_queue": name,
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
    }
