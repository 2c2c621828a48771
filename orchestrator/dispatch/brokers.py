"""The broker of each queue, as the relay reaches it."""

from collections.abc import Callable, Collection, Mapping

from celery import Celery

from orchestrator.broker import connection
from orchestrator.core import pokes

# A broker that hangs keeps a transaction open for as long.
_CONNECT_SECONDS, _ANSWER_SECONDS = 4, 5


class Brokers:
    """Where each queue is.

    Args:
        default: URL of the broker of those that have none of their own; None leaves their pokes in the outbox.
        own: tells the URL of each organization, or queue that is no organization's, that has a broker of its own, as of
            now.
        members: tells the organizations of all channels, whose workers alone may ask what is due, as of now; None for
            anybody.
    """

    def __init__(
        self,
        default: str | None,
        own: Callable[[], Mapping[str, str]] = dict,
        members: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._default = default
        self._own = own
        self._members = members

    def url(self, queue: str) -> str | None:
        """Return the URL of a queue's broker, None if it has none, or its organization has left every channel."""
        if self._left(queue):
            return None
        return self._own().get(pokes.organization_of(queue) or queue, self._default)

    def absence(self, queue: str) -> str:
        """Say why a queue has no broker."""
        return "its organization is in no channel" if self._left(queue) else "there is no URL for it"

    def _left(self, queue: str) -> bool:
        organization = pokes.organization_of(queue)
        return organization is not None and self._members is not None and organization not in self._members()

    def app(self, queue: str) -> Celery:
        """Return a new Celery app that sends to a queue; to be closed by the caller.

        Raises:
            LookupError: the queue has no broker.
        """
        url = self.url(queue)
        if url is None:
            raise LookupError(f"queue {queue} has no broker: {self.absence(queue)}")
        app = Celery("relay", set_as_current=False)
        app.conf.update(connection.queue(url, queue))
        timeouts = (
            {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _ANSWER_SECONDS}
            if pokes.on_redis(url)
            else {"read_timeout": _ANSWER_SECONDS, "write_timeout": _ANSWER_SECONDS}
        )
        app.conf.update(
            broker_connection_timeout=_CONNECT_SECONDS,
            broker_transport_options={**app.conf.broker_transport_options, **timeouts},
        )
        return app
