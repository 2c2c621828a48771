"""Celery's transport over Redis and Valkey, as all our processes use it: Kombu's, with less for a broker to do.

- A queue is one list and nothing else, and what is broadcast or answered goes over channels, which keep nothing. So an
  account needs no script, no transaction and no key of its own choice, and whoever only reads can fill nothing.
- What a worker took is gone from the broker: a poke that is lost with its worker is sent again (see docs/README.md).
- Whatever the broker answers that is no answer, is a lost connection: the other side waits, connects again and goes on.
- What comes is read by `envelope`: nothing in a list or on a channel ends its reader.
"""

# mypy: disable-error-code="no-untyped-call"

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import redis
from kombu.transport import redis as transport
from kombu.transport import virtual
from kombu.utils import json
from kombu.utils.encoding import bytes_to_str
from redis.connection import AbstractConnection

from orchestrator.broker import envelope, unreadable
from orchestrator.broker.unreadable import UnreadableError

REPLIES = "reply.celery.pidbox"
"""The exchange of the answers to remote control."""

_REPLY_QUEUE = re.compile(rf"([0-9a-f-]{{36}})\.{re.escape(REPLIES)}")
_KEPT_NOWHERE = re.compile(r"celeryev\..*|.*\.celery\.pidbox")


class _Patient(AbstractConnection):
    """Turns an error that the server answers into a lost connection.

    READONLY, LOADING, MASTERDOWN, CLUSTERDOWN, OOM, BUSY, MISCONF, UNBLOCKED, NOPERM and their like pass: when the
    server is promoted, has loaded, or got its accounts. It may also be another one by then, behind the same name.
    """

    _greeting = False

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the server; what it does not know of the greeting is redis-py's to pass over."""
        self._greeting = True
        try:
            super().on_connect_check_health(check_health=check_health)
        except redis.ResponseError as error:
            raise redis.ConnectionError(_said(error)) from error
        finally:
            self._greeting = False

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer."""
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            if self._greeting:
                raise
            self.disconnect()
            raise redis.ConnectionError(_said(error)) from error


def _said(error: redis.ResponseError) -> str:
    code = getattr(error, "status_code", None)
    return f"the broker answers {code or ''} {error}".replace("  ", " ")


class _Connection(_Patient, redis.Connection):
    pass


class _SSLConnection(_Patient, redis.SSLConnection):
    pass


class Channel(transport.Channel):
    """Kombu's, with lists for queues, channels for all else, and no other key."""

    connection_class = _Connection
    connection_class_ssl = _SSLConnection
    ack_emulation = False
    do_restore = False
    priority_steps: Any = (0,)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._heard: deque[tuple[str, bytes, dict[str, Any]]] = deque()
        self._held: dict[str, list[str]] | None = None
        super().__init__(*arguments, **options)

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # No account may say what its client is called; servers before 7.2 do not know how.
        return {**super()._connparams(asynchronous), "driver_info": None}

    # Who asks must be subscribed before anybody is asked: a channel keeps nothing.
    def _new_queue(self, queue: str, auto_delete: bool = False, **_: Any) -> None:
        if auto_delete:
            self.auto_delete_queues.add(queue)
        if asker := _REPLY_QUEUE.fullmatch(queue):
            self._fanout_queues[queue] = (REPLIES, asker[1])
            self._hear_replies(self._get_subscribe_topics(queue))

    def _hear_replies(self, topics: list[str]) -> None:
        client = self.subclient
        client.subscribe(*topics)
        missing = len(topics)
        while missing:
            missing -= self._receive_one(client) == "subscribe"
        # What came with the last of them is in no socket any more, where somebody would look for it.
        self._receive_more(client)

    def typeof(self, exchange: str, default: str = "direct") -> Any:
        """Return the kind of an exchange; answers go over channels, whatever Kombu declares."""
        return self.exchange_types["fanout"] if exchange == REPLIES else super().typeof(exchange, default)

    def get_table(self, exchange: str) -> Any:
        """Return the bindings of an exchange: each process declares those that it uses."""
        return virtual.Channel.get_table(self, exchange)

    def _queue_bind(self, exchange: str, routing_key: str, _pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, (routing_key or "").replace("#", "*"))

    def maybe_refresh_binding_expiry(self) -> None:
        """Do nothing: no binding is kept on the broker."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Give the broker what is published meanwhile at the end, each queue's messages with one command.

        Nothing of it is given if the block fails.
        """
        self._held = {}
        try:
            yield
            held = self._held
        finally:
            self._held = None
        with self.conn_or_acquire() as client:
            for queue, messages in held.items():
                client.lpush(queue, *messages)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        if self._held is not None:
            self._held.setdefault(queue, []).append(json.dumps(message))
            return
        with self.conn_or_acquire() as client:
            client.lpush(queue, json.dumps(message))

    def _size(self, queue: str) -> int:
        if _KEPT_NOWHERE.fullmatch(queue):
            return 0
        with self.conn_or_acquire() as client:
            return int(client.llen(queue))

    def _has_queue(self, *_: Any, **__: Any) -> bool:
        return True

    def _purge(self, queue: str) -> int:
        with self.conn_or_acquire() as client:
            count = int(client.llen(queue))
            client.delete(queue)
            return count

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self.auto_delete_queues.discard(queue)

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        """Do nothing: who may only read cannot give back, and what is due is poked again."""

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002
        with self.conn_or_acquire() as client:
            while (item := client.rpop(queue)) is not None:
                if (message := self._read(queue, item)) is not None:
                    return message
        raise Empty

    def _brpop_read(self, **options: Any) -> bool:
        try:
            answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None  # type: ignore[assignment]
        if not answer:
            raise Empty
        queue = bytes_to_str(answer[0])
        self._queue_cycle.rotate(queue)
        if (message := self._read(queue, answer[1])) is not None:
            self.connection._deliver(message, queue)
        return True

    def _subscribe(self) -> None:
        topics = self._topics(self.active_fanout_queues, replies=False)
        client = self.subclient
        if client.connection._sock is None:
            client.connection.connect()
        self._in_listen = client.connection
        if topics:
            client.psubscribe(*topics)
        if replies := self._topics(self.active_fanout_queues, replies=True):
            client.subscribe(*replies)

    def _topics(self, queues: Iterable[str], *, replies: bool) -> list[str]:
        asked = [queue for queue in queues if bool(_REPLY_QUEUE.fullmatch(queue)) is replies]
        return [topic for queue in asked for topic in self._get_subscribe_topics(queue)]

    def _unsubscribe_from(self, queue: str) -> None:
        client = self.subclient
        if client.connection and client.connection._sock:
            end = client.unsubscribe if _REPLY_QUEUE.fullmatch(queue) else client.punsubscribe
            end(*self._get_subscribe_topics(queue))

    def _receive(self) -> bool:
        client = self.subclient
        self._receive_one(client)
        self._receive_more(client)
        if not self.hand_over():
            raise Empty
        # Who waits for one message at a time takes the next from the poller; an event loop is not told again.
        while not self.connection.cycle.waits and self.hand_over():
            pass
        return True

    def _receive_more(self, client: Any) -> None:
        while client.connection is not None and client.connection.can_read(timeout=0):
            self._receive_one(client)

    def _receive_one(self, client: Any) -> str | None:
        """Read one answer, and keep it if it is a message; return its kind."""
        try:
            answer = client.parse_response()
        except self.connection_errors:
            self._in_listen = None  # type: ignore[assignment]
            raise
        if not isinstance(answer, list | tuple):
            return None
        payload = self._handle_message(client, answer)
        kind = str(bytes_to_str(payload["type"]))
        if kind in ("message", "pmessage"):
            name = bytes_to_str(payload["channel"])
            if (message := self._read(name, payload["data"])) is not None:
                self._heard.append((name, payload["data"], message))
        return kind

    def hand_over(self) -> bool:
        """Hand over the first message that was heard and not handed over; say whether there was one."""
        queue = None
        while queue not in self.connection._callbacks:
            # Nobody waits any more for those before it.
            if not self._heard:
                return False
            name, content, message = self._heard.popleft()
            queue = self._fanout_to_queue.get(name.partition(".")[2].partition("/")[0])
        try:
            self.connection._deliver(message, queue)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            raise
        except Exception as error:
            # Whoever listens to events has no eye for what is no event.
            unreadable.note(name, content, f"its reader failed with {type(error).__name__}")
        return True

    @staticmethod
    def _read(source: str, content: Any) -> dict[str, Any] | None:
        try:
            return envelope.read(content)
        except UnreadableError as error:
            unreadable.note(source, content, str(error))
            return None


class _Poller(transport.MultiChannelPoller):
    """Kombu's, but that several messages which came at once are handed over one at a time to whoever counts them."""

    waits = False

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for one message."""
        if any(channel.hand_over() for channel in list(self._channels)):
            return
        self.waits = True
        try:
            super().get(callback, timeout)
        finally:
            self.waits = False


class Transport(transport.Transport):
    """Kombu's, with that channel."""

    Channel = Channel

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cycle: Any = _Poller()
