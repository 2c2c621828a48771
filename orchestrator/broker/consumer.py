"""Celery's consumer as the workers of organizations and the maintenance worker have it: nothing that comes from the
broker ends it, or makes it do what it is not for."""

# mypy: disable-error-code="no-untyped-call"

import inspect
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from celery.worker import consumer
from celery.worker.consumer import control
from kombu.message import Message

from orchestrator.broker import unreadable
from orchestrator.broker.remote_control import RemoteControl
from orchestrator.broker.unreadable import UnreadableError
from orchestrator.telemetry import traceparent

_MOST_BYTES = 64 << 10
_LONGEST_ID = 36
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 4.0
_GATHER_SECONDS = 0.2


class Control(control.Control):  # type: ignore[misc]
    """Celery's step, with a remote control that knows few commands."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.box = RemoteControl(parent)
        self.start, self.stop, self.shutdown = self.box.start, self.box.stop, self.box.shutdown


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Takes tasks that are what they seem; all else is removed, counted, and logged with its digest."""

    _told = 0.0

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The steps of its start, without delays: ours are columns in Postgres, not 28 queues more on a vhost."""

        default_steps: ClassVar = [
            f"{__name__}:Control" if step.endswith(":Control") else step
            for step in consumer.Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        ]

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Message], None]:
        """Return what is called with each message of the queue."""
        handle = super().create_task_handler(*arguments, **options)

        def on_task_received(message: Message) -> None:
            try:
                read(message, self.app.tasks)
                handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except UnreadableError as error:
                self._refuse(message, str(error))
            except Exception as error:
                self._refuse(message, type(error).__name__)

        return on_task_received

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Remove a message that Celery cannot decode."""
        self._refuse(message, type(exc).__name__)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker; one that comes back after an hour is found as soon as one after a second."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=_LONGEST_PAUSE_SECONDS)
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect again, but not at once: a broker that refuses us may be reached and refuse us for a long time."""
        super().on_connection_error_after_connected(exc)
        time.sleep(_PAUSE_SECONDS)

    def on_send_event_buffered(self) -> None:
        """Have what watchers are told of tasks go together: each message costs more than what it says."""
        # A timer may be lost with a connection: so the next event sets another by and by.
        if self.hub and time.monotonic() >= self._told:
            self._told = time.monotonic() + _GATHER_SECONDS
            self.hub.call_later(_GATHER_SECONDS, self._flush_events)

    def stop(self) -> None:
        """Tell the watchers the last of it, and stop."""
        with suppress(*self.connection_errors, *self.channel_errors):
            self._flush_events()
        super().stop()

    def _refuse(self, message: Message, reason: str) -> None:
        source = str((message.delivery_info or {}).get("routing_key", ""))
        unreadable.note(source, message.body, reason)
        # Not a rejection: RabbitMQ closes the channel on one by who need not acknowledge, as remote control.
        if not message.acknowledged:
            message.ack()


def read(message: Message, tasks: Mapping[str, Any]) -> None:
    """Leave in a message what a task needs, its name, its id, its arguments, where it stands in a trace, nothing else.

    Celery would obey more: limits of time, delays, callbacks, and where to send what became of it.

    Args:
        message: of a queue.
        tasks: those that this worker has, by name.

    Raises:
        UnreadableError: it is no message for one of them.
    """
    body = bytes(message.body) if not isinstance(message.body, str) else message.body.encode("utf-8", "surrogatepass")
    if len(body) > _MOST_BYTES:
        raise UnreadableError(f"longer than {_MOST_BYTES} bytes")
    headers = message.headers
    name, identity = headers.get("task"), headers.get("id")
    if message.content_type != "application/json":
        raise UnreadableError("no JSON by its content type")
    if not isinstance(name, str) or name not in tasks or name.startswith("celery."):
        raise UnreadableError("no task of this worker")
    if not isinstance(identity, str) or len(identity) > _LONGEST_ID or not identity.isascii():
        raise UnreadableError("no id")
    positional, keywords = _arguments(body, tasks[name])
    traced = traceparent.valid(headers.get(traceparent.NAME))
    message.headers = {
        "task": name,
        "id": identity,
        "root_id": identity,
        "lang": "py",
        "argsrepr": repr(positional),
        "kwargsrepr": repr(keywords),
        "expires": _expiry(headers.get("expires")),
        "ignore_result": True,
        **({} if traced is None else {traceparent.NAME: traced}),
    }
    message.body = json.dumps([positional, keywords, {}]).encode()
    message.content_encoding = "utf-8"
    message.properties = {}
    message._decoded_cache = None


def _arguments(body: bytes, task: Any) -> tuple[list[Any], dict[str, Any]]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no JSON: {type(error).__name__}") from None
    if not isinstance(content, list) or len(content) != 3:
        raise UnreadableError("no triple")
    positional, keywords, _ = content
    if not isinstance(positional, list) or not isinstance(keywords, dict):
        raise UnreadableError("no arguments")
    try:
        bound = inspect.signature(task.run).bind(*positional, **keywords)
    except TypeError:
        raise UnreadableError("other arguments than its task has") from None
    for name, value in bound.arguments.items():
        wanted = bound.signature.parameters[name].annotation
        if type(value) is not wanted:
            raise UnreadableError(f"argument {name} is no {wanted.__name__}")
        if isinstance(value, int) and abs(value) >= 1 << 31:
            raise UnreadableError(f"argument {name} is too large")
    return positional, keywords


def _expiry(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_ID):
        raise UnreadableError("no time of expiry")
    return value
