"""A transport for whoever looks at several accounts on one Redis or Valkey: Flower.

It hears the events of all of them, sends what it broadcasts to each, and gathers the replies; it has no queue, and
sends no task. On RabbitMQ an account is a vhost, and a connection sees one.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Iterable
from typing import Any

import redis
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from orchestrator.broker import connection, redis_transport
from orchestrator.core import pokes

_TRANSPORT = f"{__name__}:Transport"


def settings(url: str, accounts: Iterable[str]) -> dict[str, Any]:
    """Return what Celery must be told to look at accounts.

    Args:
        url: of the broker.
        accounts: theirs; on RabbitMQ they say nothing, the URL's vhost is looked at.
    """
    general = {
        **connection.settings(url, pokes.FLOWER),
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }
    if not pokes.on_redis(url):
        return general
    options = {
        **general["broker_transport_options"],
        "prefixes": [pokes.key_prefix(account) for account in accounts],
    }
    del options["global_keyprefix"]
    return {**general, "broker_transport": _TRANSPORT, "broker_transport_options": options}


def flower_app(url: str, accounts: Iterable[str]) -> Celery:
    """Return the app of a process that is Flower and nothing else: all its connections are monitors."""
    app = Celery("flower", set_as_current=False)
    app.conf.update(settings(url, accounts))
    if pokes.on_redis(url):
        # Flower tells brokers apart by the scheme of a connection's URL.
        TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss", "valkey", "valkeys"), _TRANSPORT))
        app.conf.update(
            broker_transport=None,
            broker_transport_options={
                **app.conf.broker_transport_options,
                "global_keyprefix": _PrefixOfQueue(),
                # A queue is one list here: priorities are the database's.
                "priority_steps": [0],
            },
        )
    return app


class _PrefixOfQueue(str):
    """What Flower, when it asks how long queues are, puts before a name: the prefix of the account that holds it."""

    def __add__(self, name: str) -> str:
        queue, separator, priority = name.partition(redis_transport.Channel.sep)
        return pokes.key_prefix(pokes.account_of(queue)) + queue + separator + priority


class Channel(redis_transport.Channel):
    """A channel that is in several accounts at once."""

    prefixes: tuple[str, ...] = ()
    from_transport_options: tuple[str, ...] = (  # type: ignore[assignment]
        *(option for option in redis_transport.Channel.from_transport_options if option != "global_keyprefix"),
        "prefixes",
    )

    def _get_client(self) -> type[redis.Redis]:
        return redis.Redis

    def _get_publish_topics(self, exchange: str, routing_key: str) -> list[str]:
        topics = super()._get_publish_topics(exchange, routing_key)
        return [prefix + topic for prefix in self.prefixes for topic in topics]

    def _handle_message(self, client: Any, r: Any) -> dict[str, Any]:
        message: dict[str, Any] = super()._handle_message(client, r)
        return {**message, "channel": _without_prefix(message["channel"])}


class Transport(redis_transport.Transport):
    """Kombu's, with that channel."""

    Channel = Channel


def _without_prefix(name: bytes | str) -> bytes | str:
    """Return the name of a channel without the account's prefix."""
    separator: Any = b"}:" if isinstance(name, bytes) else "}:"
    return name.partition(separator)[2] or name
