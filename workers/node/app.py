"""An organization's Celery worker: it consumes that organization's queue, and nothing else.

A message is a poke, acknowledged as soon as its claim is answered: what it says is asked of the orchestrator again.
"""

import signal
from contextlib import ExitStack
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import worker_process_init, worker_process_shutdown

from orchestrator import health
from orchestrator import log as logs
from orchestrator.broker import connection, own_words, reading
from orchestrator.broker.tracing import processing
from orchestrator.core.pokes import BUILD_FUNCTION, DISABLE_OUTPUTS, RUN_TASK, on_redis, queue
from orchestrator.telemetry import names, spans
from workers.assets import disabling
from workers.channels import Channels, connect
from workers.consent.declines import Asking
from workers.consent.policy import Consent
from workers.errors import BuildFault
from workers.executors import registry, strays
from workers.executors.executor import UnfitError
from workers.executors.lasting import Lasting
from workers.executors.launcher.kernel import become_subreaper, die_with_parent
from workers.folder import clear
from workers.functions import building
from workers.node import drain, pool
from workers.node.acknowledgement import Acknowledgement
from workers.node.seats import Seats
from workers.node.supervisor import Supervisor
from workers.run import attempt as attempts
from workers.run.container import check_entry
from workers.run.slot import Slot
from workers.settings import WorkerSettings

_REQUEST = "workers.node.acknowledgement:DescribedRequest"


class TaskFailedError(Exception):
    """A task was run and reported as failed: all is said and done, but whoever looks at the worker should see it."""


class _Process:
    """What one process of the pool holds; made after the fork, which gRPC's connections would not survive."""

    def __init__(self, settings: WorkerSettings, consent: Consent) -> None:
        self._settings = settings
        self._consent = consent
        self._held: ExitStack | None = None
        self._channels: Channels | None = None
        self._asking: Asking | None = None
        self.slot = Slot(settings)
        self._seats = Seats(settings)

    def is_seated(self) -> bool:
        """Wait until one attempt more may run here; say whether it may, or the worker ends first."""
        # Of others nothing runs on when its process has gone.
        return not isinstance(self.slot.executor, Lasting) or self._seats.wait()

    @property
    def channels(self) -> Channels:
        """The connections to the orchestrator, made when first needed."""
        if self._channels is None:
            self._held = ExitStack()
            self._channels = self._held.enter_context(connect(self._settings))
        return self._channels

    @property
    def asking(self) -> Asking:
        """What says which tasks are consented to; made when first needed."""
        if self._asking is None:
            self._asking = Asking(self.channels, self._consent)
        return self._asking

    def start(self, **_: Any) -> None:
        """Bind this process's life to the worker's, so that one killed with -9 leaves nothing behind."""
        die_with_parent()
        become_subreaper()
        # A terminal sends it to all; a handler, not SIG_IGN: what is ignored stays ignored in the function.
        signal.signal(signal.SIGQUIT, lambda *_: None)
        structlog.contextvars.bind_contextvars(organization=self._settings.organization, node=self._settings.node)
        # Not before the fork, which their threads would not survive.
        self._consent.follow()
        own = {names.ORGANIZATION: self._settings.organization, names.SERVICE_INSTANCE: self._settings.node}
        spans.begin("worker", own)

    def end(self, **_: Any) -> None:
        """End what is prepared, close the connections."""
        self.slot.close()
        self._consent.end()
        if self._held is not None:
            self._held.close()
        spans.end()


def make_app(settings: WorkerSettings, consent: Consent) -> Celery:
    """Return the Celery app of an organization's worker, with its tasks.

    Args:
        settings: the worker's.
        consent: its files, checked: the processes of the pool know which were there when the worker started.
    """
    url, own_queue = settings.broker_url.get_secret_value(), queue(settings.organization)
    app = Celery("worker", set_as_current=False)
    app.conf.update(
        **connection.queue(url, own_queue),
        worker_prefetch_multiplier=1,
        # On Redis a free process takes the next message, and a waiting one can be taken by another node. Other
        # transports do not know it, and say so at each start.
        worker_disable_prefetch=on_redis(url),
        worker_consumer="orchestrator.broker.consumer:Consumer",
        worker_send_task_events=True,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        # Nobody may be there to start it again.
        broker_connection_max_retries=None,
    )
    process = _Process(settings, consent)

    acknowledgement = Acknowledgement(app)

    @app.task(  # type: ignore[untyped-decorator]
        name=RUN_TASK,
        shared=False,
        bind=True,
        acks_late=True,
        throws=(TaskFailedError,),
        Request=_REQUEST,
    )
    def run_task(self: Task, task: str, attempt: int) -> None:
        """Run an attempt at a task.

        Args:
            task: its key.
            attempt: the number of the attempt that is due.

        Raises:
            TaskFailedError: it was run, and reported as failed.
        """
        if not process.is_seated():
            return
        try:
            with processing(own_queue, url, self.request, {names.TASK: task, names.ATTEMPT: attempt}) as span:
                failure = attempts.run(
                    settings,
                    process.asking,
                    process.slot,
                    task,
                    attempt,
                    claimed=lambda: acknowledgement.answered(self.request.id),
                    described=lambda words, plan: acknowledgement.described(self.request.id, words, plan),
                )
                if failure:
                    span.fail(TaskFailedError.__name__)
        finally:
            # Of a function that killed its launcher; all that this process starts is functions.
            strays.end_children()
            process.slot.prepare()
        if failure:
            raise TaskFailedError(failure)

    @app.task(name=BUILD_FUNCTION, shared=False, bind=True, Request=_REQUEST)  # type: ignore[untyped-decorator]
    def build_function(self: Task, function: str) -> None:
        """Build a function of this organization.

        Args:
            function: its key.
        """
        with processing(own_queue, url, self.request, {names.FUNCTION: function}):
            building.build(
                settings,
                process.channels,
                function,
                described=lambda words: acknowledgement.described(self.request.id, words, ""),
            )

    @app.task(name=DISABLE_OUTPUTS, shared=False)  # type: ignore[untyped-decorator]
    def disable_outputs(task: str) -> None:
        """Delete the transient models of a task of this organization that no task can need any more.

        Args:
            task: its key.
        """
        disabling.disable(settings, process.channels, task)

    worker_process_init.connect(process.start, weak=False)
    worker_process_shutdown.connect(process.end, weak=False)
    return app


def main(settings: WorkerSettings) -> int:
    """Run the organization's worker in this process until it is told to end; return its exit code.

    It ends as `drain` says.

    Args:
        settings: the worker's.

    Raises:
        DocumentError: the consent policy, or the file of decisions, is wrong.
        UnfitError: functions cannot run here as the settings say.
        SwitchError: traces are wanted that cannot be had.
        AddressError: the address for its health cannot be listened on.
    """
    consent = Consent.of(settings)
    consent.check()
    logs.configure_process(settings.log_level)
    spans.check()
    executor = registry.make(settings)
    executor.check()
    for name, entry in consent.images.items():
        try:
            check_entry(name, entry, executor, settings)
        except BuildFault as fault:
            raise UnfitError(str(fault)) from fault
    health.check_address(settings.health_address)
    clear(settings.node_folder)
    app = make_app(settings, consent)
    with Supervisor(settings) as supervisor:
        drain.install(app, supervisor)
        reading.install(app, supervisor.reads)
        pool.install(app)
        own_words.install()
        worker = app.Worker(
            hostname=f"{settings.organization}@{settings.node}",
            pool="prefork",
            concurrency=settings.concurrency,
            loglevel=settings.log_level,
            task_events=True,
            quiet=True,
            # Workers of different organizations have nothing to say to each other.
            without_gossip=True,
            without_mingle=True,
        )
        worker.start()
    return int(worker.exitcode or 0)
