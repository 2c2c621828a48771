"""The broker of each organization, as the relay reaches it."""

from collections.abc import Callable, Collection, Mapping

from celery import Celery

from orchestrator.broker import connection
from orchestrator.core import pokes

# A broker that hangs keeps a transaction open for as long.
_CONNECT_SECONDS, _ANSWER_SECONDS = 4, 5


class Brokers:
    """Where each organization's queue is.

    Args:
        default: URL of the broker of those that have none of their own; None leaves their pokes in the outbox.
        own: tells the URL of each organization that has a broker of its own, as of now.
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

    def url(self, organization: str) -> str | None:
        """Return the URL of an organization's broker, None if it has none, or has left every channel."""
        if self._members is not None and organization not in self._members():
            return None
        return self._own().get(organization, self._default)

    def absence(self, organization: str) -> str:
        """Say why an organization has no broker."""
        if self._members is not None and organization not in self._members():
            return "it is in no channel"
        return "there is no URL for it"

    def app(self, organization: str) -> Celery:
        """Return a new Celery app that sends to an organization's queue; to be closed by the caller.

        Raises:
            LookupError: the organization has no broker.
        """
        url = self.url(organization)
        if url is None:
            raise LookupError(f"organization {organization} has no broker: {self.absence(organization)}")
        app = Celery("relay", set_as_current=False)
        app.conf.update(connection.organization(url, organization))
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
