"""Celery's remote control, of which a worker of ours obeys what looks, and what it was told to obey besides.

Whoever may write to a broker may send commands, and Celery would end a worker, or take its queue away, for anybody.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import control, pidbox
from kombu.message import Message

from orchestrator.broker import unreadable
from orchestrator.broker.unreadable import UnreadableError
from orchestrator.core.pokes import STOP_ATTEMPTS

log = structlog.get_logger()

LOOKING = frozenset(
    {"ping", "stats", "active", "active_queues", "registered", "reserved", "scheduled", "revoked", "conf"}
)
"""The commands that tell what a worker does, and change nothing."""

_REPLIES = "reply.celery.pidbox"
_LONGEST = 512
_MOST_DESTINATIONS = 10_000


class RemoteControl(pidbox.Pidbox):  # type: ignore[misc]
    """The mailbox of a worker.

    Args:
        parent: the consumer.
    """

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.node.handlers = {
            name: _looking(handler) for name, handler in control.Panel.data.items() if name in LOOKING
        } | {name: handler for name, handler in control.Panel.data.items() if name == STOP_ATTEMPTS}

    def on_message(self, body: object, message: Message) -> None:
        """Obey a command, or note that it is none."""
        try:
            command = self._read(body)
        except UnreadableError as error:
            unreadable.note(f"{self.hostname}.celery.pidbox", message.body, str(error))
            return
        # Its clock would be taken over.
        message.headers = {}
        super().on_message(command, message)

    def _read(self, body: object) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise UnreadableError("no command")
        method, arguments = body.get("method"), body.get("arguments") or {}
        if not isinstance(method, str) or method not in self.node.handlers:
            raise UnreadableError("a command that is off")
        if not isinstance(arguments, dict):
            raise UnreadableError("no arguments")
        destination, pattern = body.get("destination"), body.get("pattern")
        if destination is not None and not (
            isinstance(destination, list)
            and len(destination) <= _MOST_DESTINATIONS
            and all(isinstance(name, str) for name in destination)
        ):
            raise UnreadableError("no destinations")
        # A regular expression could keep us busy for ever.
        if pattern is not None and (
            not isinstance(pattern, str) or len(pattern) > _LONGEST or body.get("matcher") != "glob"
        ):
            raise UnreadableError("no pattern")
        command = {"method": method, "arguments": arguments, "destination": destination}
        if pattern is not None:
            command |= {"pattern": pattern, "matcher": "glob"}
        if (reply_to := body.get("reply_to")) is not None:
            command |= _reply(reply_to, body.get("ticket"))
        return command


def _reply(reply_to: object, ticket: object) -> dict[str, Any]:
    match reply_to, ticket:
        case {"exchange": "reply.celery.pidbox", "routing_key": str() as asker}, str() if (
            max(len(asker), len(ticket)) <= _LONGEST
        ):
            return {"reply_to": {"exchange": _REPLIES, "routing_key": asker}, "ticket": ticket}
    raise UnreadableError("nobody to answer")


def _looking(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler without arguments: some would have it show what it has in memory."""

    def look(state: Any, **_: object) -> Any:
        return handler(state)

    return look
