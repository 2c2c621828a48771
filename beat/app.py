"""The Celery app of the maintenance worker: beat fires the sweeps, the worker runs them."""

import contextlib
import socket
from datetime import datetime
from typing import Any

import psycopg
import structlog
from celery import Celery
from celery.signals import worker_process_shutdown
from kombu.entity import Exchange, Queue

from beat import clock, sweeps
from beat.settings import BeatSettings
from orchestrator import health, log
from orchestrator.broker import connection, own_words, reading
from orchestrator.core import pokes
from orchestrator.core.errors import UnavailableError
from orchestrator.engine.transaction import Database
from orchestrator.schema import Schema
from orchestrator.store import connecting, pooling
from orchestrator.store.readiness import Probe
from orchestrator.store.sweep import Sweep

events = structlog.get_logger()

QUEUE = "maintenance"

# Loggers that say at INFO, of each sweep, that it was fired, taken and run, or that it came too late for its turn.
_EACH_SWEEP = ("celery.beat", "celery.worker.strategy", "celery.worker.request", "celery.app.trace")


class _Process:
    """The database of one process of the pool, made after the fork."""

    def __init__(self, settings: BeatSettings) -> None:
        self._settings = settings
        self._database: Database | None = None

    @property
    def database(self) -> Database:
        if self._database is None:
            url = self._settings.url
            settings = self._settings
            self._database = Database(
                url, 2, settings.tx_retry_budget, settings.rules, retry_policies=settings.retry_policies
            )
        return self._database

    def now(self) -> datetime:
        """Return the time by which what is written in the database can be compared: the database's."""
        with self.database.begin() as connection:
            return self.database.measure(connection)

    def end(self, **_: Any) -> None:
        if self._database is not None:
            self._database.close()


def make_app(settings: BeatSettings) -> Celery:
    """Return the Celery app with a task and a schedule for each sweep."""
    url = settings.broker_url.get_secret_value()
    app = Celery("maintenance", set_as_current=False)
    process = _Process(settings)
    every = sweeps.make(settings)
    app.conf.update(
        **connection.settings(url, pokes.MAINTENANCE),
        **connection.READER,
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_queues=(Queue(QUEUE, Exchange(QUEUE, type="direct"), routing_key=QUEUE),),  # type: ignore[no-untyped-call]
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        # One that hangs, as on a network that was cut, would hold up all others; what it did not do, the next does.
        task_time_limit=settings.sweep_time_limit,
        worker_send_task_events=settings.sweep_events,
        # Sweeps that nobody took before the next is due are not worth keeping.
        beat_schedule={
            sweep.name: {"task": sweep.name, "schedule": sweep.period, "options": {"expires": sweep.period}}
            for sweep in every
        },
    )
    for sweep in every:
        _register(app, process, sweep)
    worker_process_shutdown.connect(process.end, weak=False)
    return app


def _register(app: Celery, process: _Process, sweep: Sweep) -> None:
    @app.task(name=sweep.name, shared=False)  # type: ignore[untyped-decorator]
    def run() -> None:
        try:
            sweep.sweep(process.database, process.now())
        except UnavailableError as error:
            # The next one does its work.
            events.warning("sweep.put_off", sweep=sweep.name, reason=str(error))


def main(settings: BeatSettings, schedule: bool) -> int:
    """Run the maintenance worker until it is told to end; return its exit code.

    Args:
        settings: what it is told.
        schedule: whether it fires the sweeps too.

    Raises:
        AddressError: the address for its health cannot be listened on.
        PoolingError: connections to the database share more than the settings say.
    """
    log.configure_process(settings.log_level)
    if settings.log_level != "DEBUG":
        own_words.quieten(*_EACH_SWEEP)
    if settings.database_pooling == "transaction":
        connecting.share_sessions()
    with contextlib.suppress(psycopg.OperationalError):
        # One that is away for now is waited for.
        pooling.check(settings.url, settings.database_pooling, settings.direct_url)
    app = make_app(settings)
    signs = health.Signs()
    reading.install(app, signs.note)
    probe = Probe(settings.url, judge=Schema().judge)

    async def ready() -> None:
        signs.check()
        await probe.check()

    if schedule:
        clock.install(app)
    own_words.install()
    worker = app.Worker(
        hostname=f"maintenance@{socket.gethostname()}",
        pool="prefork",
        concurrency=1,
        loglevel=settings.log_level,
        task_events=settings.sweep_events,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    with health.answering(settings.health_address, ready):
        worker.start()
    return int(worker.exitcode or 0)
