"""A transport for whoever looks at several accounts on one Redis or Valkey: Flower.

It hears the events of all of them, sends what it broadcasts to each, and gathers the replies; it holds no queue of
its own, and sends no task. On RabbitMQ an account is a vhost, and a connection sees one.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import redis
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as transport

from orchestrator.core import pokes

_TRANSPORT = f"{__name__}:Transport"


def settings(url: str, accounts: Iterable[str]) -> dict[str, Any]:
    """Return what Celery must be told to look at accounts.

    Args:
        url: of the broker.
        accounts: theirs; on RabbitMQ they say nothing, the URL's vhost is looked at.
    """
    general = {"broker_url": url, "task_serializer": "json", "accept_content": ["json"], "task_ignore_result": True}
    if not pokes.on_redis(url):
        return general
    options = {
        "prefixes": [pokes.key_prefix(account) for account in accounts],
        # It only takes replies, which nobody waits for once it is gone.
        "ack_emulation": False,
    }
    return {**general, "broker_transport": _TRANSPORT, "broker_transport_options": options}


def flower_app(url: str, accounts: Iterable[str]) -> Celery:
    """Return the app of a process that is Flower and nothing else: all its connections are monitors."""
    app = Celery("flower", set_as_current=False)
    app.conf.update(settings(url, accounts))
    if pokes.on_redis(url):
        # Flower tells brokers apart by the scheme of a connection's URL.
        TRANSPORT_ALIASES.update(redis=_TRANSPORT, rediss=_TRANSPORT)
        app.conf.update(
            broker_transport=None,
            broker_transport_options={**app.conf.broker_transport_options, "global_keyprefix": _PrefixOfQueue()},
        )
    return app


class _PrefixOfQueue(str):
    """What Flower, when it asks how long queues are, puts before a name: the prefix of the account that holds it."""

    def __add__(self, name: str) -> str:
        queue, separator, priority = name.partition(transport.Channel.sep)
        return pokes.key_prefix(pokes.account_of(queue)) + queue + separator + priority


class _Client(redis.Redis):
    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        answer = super().parse_response(connection, command_name, **options)
        if command_name == "BRPOP" and answer:
            key, value = answer
            return _without_prefix(key), value
        return answer


class Channel(transport.Channel):
    """A channel that is in several accounts at once."""

    prefixes: tuple[str, ...] = ()
    from_transport_options: tuple[str, ...] = (  # type: ignore[assignment]
        *(option for option in transport.Channel.from_transport_options if option != "global_keyprefix"),
        "prefixes",
    )

    _prefix = ""

    def _get_client(self) -> type[redis.Redis]:
        return _Client

    def _get_publish_topics(self, exchange: str, routing_key: str) -> list[str]:
        topics = super()._get_publish_topics(exchange, routing_key)
        return [prefix + topic for prefix in self.prefixes for topic in topics]

    def _handle_message(self, client: Any, r: Any) -> dict[str, Any]:
        message: dict[str, Any] = super()._handle_message(client, r)
        return {**message, "channel": _without_prefix(message["channel"])}

    def _queue_bind(self, *arguments: Any) -> None:
        for _ in self._each():
            super()._queue_bind(*arguments)

    def _refresh_bindings(self, queues: Any) -> None:
        for _ in self._each():
            super()._refresh_bindings(queues)

    def sweep_bindings(self, limit: int = 100) -> int:
        """Delete binding tables that no consumer refreshed in time; return how many."""
        return sum(super(Channel, self).sweep_bindings(limit) for _ in self._each())

    def _size(self, queue: str) -> int:
        return sum(super(Channel, self)._size(queue) for _ in self._each())

    def _delete(self, *arguments: Any, **options: Any) -> None:
        for _ in self._each():
            super()._delete(*arguments, **options)

    def _q_for_pri(self, queue: str, pri: int) -> str:
        return self._prefix + str(super()._q_for_pri(queue, pri))

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        keys = [self._q_for_pri(queue, 0) for _ in self._each() for queue in queues]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()  # type: ignore[assignment]
        self.client.connection.send_command("BRPOP", *keys, (self.brpop_timeout if timeout is None else timeout) or 0)

    def _each(self) -> Iterator[str]:
        for prefix in self.prefixes:
            with self._within(prefix):
                yield prefix

    @contextmanager
    def _within(self, prefix: str) -> Iterator[None]:
        """Let the names of all keys begin with a prefix."""
        named = transport.Channel
        try:
            self._prefix = prefix
            self.keyprefix_queue = prefix + named.keyprefix_queue
            self.keyprefix_binding_deadlines = prefix + named.keyprefix_binding_deadlines
            self.keyprefix_binding_permanent = prefix + named.keyprefix_binding_permanent
            yield
        finally:
            self._prefix = ""


class Transport(transport.Transport):
    """Kombu's, with that channel."""

    Channel = Channel


def _without_prefix(name: bytes | str) -> bytes | str:
    """Return the name of a key or channel without the account's prefix."""
    separator: Any = b"}:" if isinstance(name, bytes) else "}:"
    return name.partition(separator)[2] or name
