"""From the outbox to Celery: pokes that were committed are handed to the broker, each on its queue.

Each queue has a lane of its own, with its own thread and connections: one whose broker is down or hangs holds up nobody
else's pokes, and its own stay in the outbox until it is back.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import groupby
from uuid import UUID

import structlog
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from orchestrator.core import crash, pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.pump import Pump
from orchestrator.dispatch.tracing import is_again, sending
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from orchestrator.store import connecting
from orchestrator.store.connection import transaction_on
from orchestrator.telemetry import spans

log = structlog.get_logger()

_CONFIRM_SECONDS = 5
_LANE_POLL_SECONDS = 60.0
# One that is made anew plans its statements anew: lanes that are woken together, as by a round, each take one.
_IDLE_CONNECTIONS = 4


class Relay:
    """Sends pokes.

    A poke is marked in the transaction that locks it, after the broker took it: a crash between the two sends it
    twice, which does no harm.

    Args:
        database: where the outbox is.
        brokers: where the queues are.
        batch: most pokes of one transaction.

    Attributes:
        batch: the same; as many may have left some behind.
    """

    def __init__(self, database: Database, brokers: Brokers, batch: int = 100) -> None:
        self._brokers = brokers
        self.batch = batch
        self._silence = database.rules.silence
        # Not the pool of the calls: a broker that hangs holds a connection meanwhile.
        self._engine = connecting.make_engine(database.url, pool_size=_IDLE_CONNECTIONS, max_overflow=-1)
        self._looking = ThreadPoolExecutor(1, "relay")
        self._apps: dict[str, tuple[str | None, Celery]] = {}
        self._lanes: dict[str, _Lane] = {}
        self._without: set[str] = set()
        self._stopped = False

    async def step(self) -> bool:
        """Wake the lane of each queue that has pokes to send; return False, since nothing is left for this one."""
        for queue in await asyncio.get_running_loop().run_in_executor(self._looking, self._waiting):
            self.wake(queue)
        return False

    def wake(self, queue: str) -> None:
        """Tell the lane of a queue that there may be pokes to send; to be called in the event loop."""
        if not self._stopped and self.reaches(queue):
            if queue not in self._lanes:
                self._lanes[queue] = _Lane(self, queue)
            self._lanes[queue].wake()

    def reaches(self, queue: str) -> bool:
        """Tell whether a queue has a broker now; that it has none is logged once."""
        if self._brokers.url(queue) is not None:
            self._without.discard(queue)
            return True
        if queue not in self._without:
            self._without.add(queue)
            log.warning("relay.no_broker", queue=queue, reason=self._brokers.absence(queue))
        return False

    def _waiting(self) -> list[str]:
        with transaction_on(self._engine) as connection:
            connection.apart()
            return outbox.waiting(connection)

    def send(self, queue: str) -> int:
        """Send one batch of a queue's pokes, those of the highest priority first; return how many.

        Raises:
            LookupError: the queue has no broker.
            kombu.exceptions.OperationalError: its broker cannot be reached or refuses us; nothing is marked.
        """
        app = self._app(queue)
        with transaction_on(self._engine) as connection:
            connection.begin_in_order()
            taken = outbox.take(connection, queue, self.batch, self._silence)
            if taken:
                crash.point("relay.before_send")
            again = [poke for _, poke in taken if is_again(poke)]
            earlier = outbox.earlier(connection, again) if spans.on() else {}
            # What was written before a purge is in the queue by then, and what came after it is not.
            for purges, part in groupby((poke for _, poke in taken), lambda poke: poke.message == outbox.PURGE):
                if purges:
                    _empty(app, queue)
                else:
                    _send(app, list(part), earlier)
            _stop(app, queue, [poke for _, poke in taken if poke.message == pokes.STOP_ATTEMPTS])
            if taken:
                crash.point("relay.before_mark")
            outbox.mark_sent(connection, queue, [identity for identity, _ in taken])
        if taken:
            log.info("relay.sent", queue=queue, pokes=len(taken))
        return len(taken)

    def _app(self, queue: str) -> Celery:
        url, (known, app) = self._brokers.url(queue), self._apps.get(queue, (None, None))
        if app is None or url != known:
            # Only this queue's lane asks, so that nobody uses the old one meanwhile.
            made = self._brokers.app(queue)
            self._apps[queue] = url, made
            if app is not None:
                app.close()
            return made
        return app

    def lags(self) -> dict[str, float]:
        """Return for how many seconds each queue that ever had pokes has waited for its broker; 0 where it does not."""
        return {queue: lane.lag for queue, lane in list(self._lanes.items())}

    async def stop(self) -> None:
        """End the lanes, and begin none; a batch that is being sent may finish."""
        self._stopped = True
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
    """The pump of one queue's pokes."""

    def __init__(self, relay: Relay, queue: str) -> None:
        threads = ThreadPoolExecutor(1, f"relay-{queue}")
        self._since: float | None = None

        async def step() -> bool:
            # Its organization may have left every channel since.
            if not relay.reaches(queue):
                self._since = None
                return False
            self._since = self._since or time.monotonic()
            sent = await asyncio.get_running_loop().run_in_executor(threads, relay.send, queue)
            if sent < relay.batch:
                self._since = None
            return sent >= relay.batch

        self._threads = threads
        # What is committed says nothing of the broker.
        self._pump = Pump(f"relay {queue}", step, _LANE_POLL_SECONDS, lasting=(OperationalError,))
        self._task = asyncio.create_task(self._pump.run())

    @property
    def lag(self) -> float:
        """For how many seconds it has had something to send, or could not even look; 0 where it has sent all."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def wake(self) -> None:
        """Tell it that there may be something to send."""
        self._pump.wake()

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await asyncio.to_thread(self._threads.shutdown)


def _send(app: Celery, some: list[outbox.Poke], earlier: Mapping[UUID, str]) -> None:
    """Send pokes for one worker each; what goes to all of a queue's is passed over."""
    confirmed = {} if pokes.on_redis(app.conf.broker_url) else {"confirm_timeout": _CONFIRM_SECONDS}
    with (
        app.producer_pool.acquire(block=True) as producer,
        _faults_of(producer.connection),
        getattr(producer.channel, "together", nullcontext)(),
    ):
        for poke in some:
            if poke.message in pokes.KEYWORDS:
                keywords = dict(zip(pokes.KEYWORDS[poke.message], (str(poke.key), poke.attempt), strict=False))
                with sending(poke, app.conf.broker_url, earlier.get(poke.key)) as headers:
                    given = {"kwargs": keywords, "headers": dict(headers), "queue": poke.queue, **confirmed}
                    app.send_task(poke.message, retry=False, producer=producer, **given)
            elif poke.message != pokes.STOP_ATTEMPTS:
                # It would hold up all that follow.
                log.error("relay.unknown_poke", message=poke.message, queue=poke.queue, key=str(poke.key))


@contextmanager
def _faults_of(connection: Connection) -> Iterator[None]:
    """Raise what is a broker's fault as Celery does where it sends."""
    try:
        yield
    except connection.connection_errors + connection.channel_errors as error:
        raise OperationalError(str(error)) from error


def _empty(app: Celery, name: str) -> None:
    """Take all pokes out of a queue that no worker has been given."""
    queue = app.amqp.queues[name]
    with app.connection_for_write() as connection, _faults_of(connection), connection.channel() as channel:
        bound = queue(channel)
        bound.declare()
        count = bound.purge()
    log.info("queue.emptied", queue=name, pokes=count)


def _stop(app: Celery, queue: str, stops: list[outbox.Poke]) -> None:
    """Tell all who read a queue at once, busy ones too, that attempts must stop."""
    if stops:
        tasks = [str(poke.key) for poke in stops]
        # The pattern matters where organizations share a vhost.
        app.control.broadcast(
            pokes.STOP_ATTEMPTS, arguments={"tasks": tasks}, pattern=pokes.readers(queue), matcher="glob"
        )
