"""From the outbox to Celery: pokes that were committed are handed to the broker, each organization's on its queue.

Each organization has a lane of its own, with its own thread and connections: one whose broker is down or hangs holds
up nobody else's pokes, and its own stay in the outbox until it is back.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from orchestrator.core import crash, pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.pump import Pump
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from orchestrator.store import connecting

log = structlog.get_logger()

_CONFIRM_SECONDS = 5
_LANE_POLL_SECONDS = 60.0
_IDLE_CONNECTIONS = 2


class Relay:
    """Sends pokes.

    A poke is marked in the transaction that locks it, after the broker took it: a crash between the two sends it
    twice, which does no harm.

    Args:
        database: where the outbox is.
        brokers: where the queues are.
        batch: most pokes of one transaction.
    """

    def __init__(self, database: Database, brokers: Brokers, batch: int = 100) -> None:
        self._brokers = brokers
        self._batch = batch
        # Not the pool of the calls: a broker that hangs holds a connection meanwhile.
        self._engine = connecting.make_engine(database.url, pool_size=_IDLE_CONNECTIONS, max_overflow=-1)
        self._looking = ThreadPoolExecutor(1, "relay")
        self._apps: dict[str, tuple[str | None, Celery]] = {}
        self._lanes: dict[str, _Lane] = {}
        self._without: set[str] = set()

    async def step(self) -> int:
        """Wake the lane of each organization that has pokes to send; return 0, since nothing is left for this one."""
        for organization in await asyncio.get_running_loop().run_in_executor(self._looking, self._waiting):
            if not self.reaches(organization):
                continue
            if organization not in self._lanes:
                self._lanes[organization] = _Lane(self, organization)
            self._lanes[organization].wake()
        return 0

    def reaches(self, organization: str) -> bool:
        """Tell whether an organization has a broker now; that it has none is logged once."""
        if self._brokers.url(organization) is not None:
            self._without.discard(organization)
            return True
        if organization not in self._without:
            self._without.add(organization)
            log.warning("relay.no_broker", organization=organization, reason=self._brokers.absence(organization))
        return False

    def _waiting(self) -> list[str]:
        with self._engine.connect() as connection:
            return outbox.waiting(connection)

    def send(self, organization: str) -> int:
        """Send one batch of an organization's pokes, the oldest first; return how many.

        Raises:
            LookupError: the organization has no broker.
            kombu.exceptions.OperationalError: its broker cannot be reached or refuses us; nothing is marked.
        """
        app = self._app(organization)
        with self._engine.begin() as connection:
            taken = outbox.take(connection, organization, self._batch)
            if taken:
                crash.point("relay.before_send")
            for _, poke in taken:
                if poke.kind == outbox.PURGE:
                    _empty(app, organization)
                else:
                    _send(app, poke)
            _stop(app, organization, [poke for _, poke in taken if poke.kind == outbox.STOP])
            if taken:
                crash.point("relay.before_mark")
            outbox.mark_sent(connection, [identity for identity, _ in taken])
        if taken:
            log.info("relay.sent", organization=organization, pokes=len(taken))
        return len(taken)

    def _app(self, organization: str) -> Celery:
        url, (known, app) = self._brokers.url(organization), self._apps.get(organization, (None, None))
        if app is None or url != known:
            # Only this organization's lane asks, so that nobody uses the old one meanwhile.
            made = self._brokers.app(organization)
            self._apps[organization] = url, made
            if app is not None:
                app.close()
            return made
        return app

    async def stop(self) -> None:
        """End the lanes; a batch that is being sent may finish."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))
        self._lanes.clear()

    def close(self) -> None:
        """Close the connections to the brokers and the database."""
        # What it asks has outlived the cancellation of its step, with a connection in hand.
        self._looking.shutdown(cancel_futures=True)
        for _, app in self._apps.values():
            app.close()
        self._engine.dispose()


class _Lane:
    """The pump of one organization's pokes."""

    def __init__(self, relay: Relay, organization: str) -> None:
        threads = ThreadPoolExecutor(1, f"relay-{organization}")

        async def step() -> int:
            # It may have left every channel since.
            if not relay.reaches(organization):
                return 0
            return await asyncio.get_running_loop().run_in_executor(threads, relay.send, organization)

        self._threads = threads
        self._pump = Pump(f"relay {organization}", step, _LANE_POLL_SECONDS)
        self._task = asyncio.create_task(self._pump.run())

    def wake(self) -> None:
        """Tell it that there may be something to send."""
        self._pump.wake()

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await asyncio.to_thread(self._threads.shutdown)


def _send(app: Celery, poke: outbox.Poke) -> None:
    if poke.kind == outbox.TASK:
        name, keywords = pokes.RUN_TASK, {"task": str(poke.key), "attempt": poke.attempt}
    elif poke.kind == outbox.FUNCTION:
        name, keywords = pokes.BUILD_FUNCTION, {"function": str(poke.key)}
    elif poke.kind == outbox.DISABLE:
        name, keywords = pokes.DISABLE_OUTPUTS, {"task": str(poke.key)}
    elif poke.kind == outbox.STOP:
        return
    else:
        # It would hold up all that follow.
        log.error("relay.unknown_poke", kind=poke.kind, organization=poke.organization, key=str(poke.key))
        return
    confirmed = {} if pokes.on_redis(app.conf.broker_url) else {"confirm_timeout": _CONFIRM_SECONDS}
    app.send_task(name, kwargs=keywords, queue=pokes.queue(poke.organization), retry=False, **confirmed)


def _empty(app: Celery, organization: str) -> None:
    """Take all pokes out of an organization's queue that no worker has been given."""
    queue = app.amqp.queues[pokes.queue(organization)]
    with app.connection_for_write() as connection:
        try:
            with connection.channel() as channel:
                bound = queue(channel)
                bound.declare()
                count = bound.purge()
        except connection.connection_errors + connection.channel_errors as error:
            raise OperationalError(str(error)) from error
    log.info("queue.emptied", organization=organization, pokes=count)


def _stop(app: Celery, organization: str, stops: list[outbox.Poke]) -> None:
    """Tell all workers of an organization at once, busy ones too, that attempts must stop."""
    if stops:
        tasks = [str(poke.key) for poke in stops]
        # The pattern matters where organizations share a vhost.
        app.control.broadcast(
            pokes.STOP_ATTEMPTS, arguments={"tasks": tasks}, pattern=f"{organization}@*", matcher="glob"
        )
