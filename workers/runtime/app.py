"""The runtime's Celery worker: it takes the steps of executions that concern Argo and Kafka.

A message is a poke; what it says is asked of the orchestrator again. Steps wait for others all the time, so that they
run in threads of one process.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from celery import Celery, Task
from celery.signals import worker_shutting_down
from celery.worker.control import control_command

from orchestrator import health
from orchestrator import log as logs
from orchestrator.broker import connection, own_words, reading
from orchestrator.broker.tracing import processing
from orchestrator.core.errors import UnavailableError
from orchestrator.core.pokes import RUN_TASK, STOP_ATTEMPTS
from orchestrator.telemetry import names, spans
from workers.channels import connect
from workers.runtime.argo import Argo, ArgoSettings
from workers.runtime.attempt import Attempts
from workers.runtime.errors import RefusedError
from workers.runtime.heartbeat import Heartbeat
from workers.runtime.kafka import Kafka, KafkaSettings
from workers.runtime.look import Looking
from workers.runtime.running import Running
from workers.runtime.settings import RuntimeSettings
from workers.runtime.topics import Topics
from workers.runtime.work import Work

_END_SECONDS = 5.0


def queue(organization: str) -> str:
    """Return the queue of an organization's runtimes, as the orchestrator calls it."""
    return f"executions.{organization}"


def make_app(settings: RuntimeSettings, attempts: Attempts) -> Celery:
    """Return the Celery app of a runtime.

    Args:
        settings: its own.
        attempts: runs what pokes announce.
    """
    url, own_queue = settings.broker_url.get_secret_value(), queue(settings.organization)
    app = Celery("runtime", set_as_current=False)
    app.conf.update(
        **connection.queue(url, own_queue),
        worker_prefetch_multiplier=1,
        worker_consumer="orchestrator.broker.consumer:Consumer",
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        # Nobody may be there to start it again.
        broker_connection_max_retries=None,
    )

    @app.task(name=RUN_TASK, shared=False, bind=True)  # type: ignore[untyped-decorator]
    def run_task(self: Task, task: str, attempt: int) -> None:
        """Run an attempt at a step.

        Args:
            task: its key.
            attempt: the number of the attempt that is due.
        """
        with processing(own_queue, url, self.request, {names.TASK: task, names.ATTEMPT: attempt}) as span:
            if kind := attempts.run(task, attempt):
                span.fail(kind)

    return app


def main(settings: RuntimeSettings, argo: ArgoSettings, kafka: KafkaSettings) -> int:
    """Run a runtime in this process until it is told to end; return its exit code.

    It takes no step more then, and ends what it does, which has time limits.

    Args:
        settings: its own.
        argo: where workflows are placed.
        kafka: by what federated executions talk.

    Raises:
        AddressError: the address for its health cannot be listened on.
        SwitchError: traces are wanted that cannot be had.
        OSError: the files of Argo's certificates cannot be read.
    """
    logs.configure_process(settings.log_level)
    running, signs = Running(), health.Signs()
    with ExitStack() as held:
        spans.begin("runtime", {names.ORGANIZATION: settings.organization, names.SERVICE_INSTANCE: settings.node})
        held.callback(spans.end)
        channels = held.enter_context(connect(settings))
        workflows = Argo(argo)
        held.callback(workflows.close)
        app = make_app(settings, Attempts(channels, settings.node, running, Work(workflows, lambda: _topics(kafka))))
        beats = [
            Heartbeat(client, settings.node, queue(settings.organization), settings.runtime_concurrency, running)
            for client in channels.clients
        ]
        looks = [
            Looking(client, workflows, settings.runtime_look_period, settings.runtime_report_patience)
            for client in channels.clients
        ]
        threads: tuple[Heartbeat | Looking, ...] = (*beats, *looks)
        for thread in threads:
            thread.start()
            held.callback(thread.join, _END_SECONDS)
            held.callback(thread.end)

        async def ready() -> None:
            if running.leaving.is_set():
                raise UnavailableError("the runtime ends, and takes nothing any more")
            signs.check()
            if not any(beat.heard for beat in beats):
                reasons = "; ".join(f"channel {beat.channel}: {beat.complaint}" for beat in beats)
                raise UnavailableError(f"the orchestrator does not answer its heartbeats: {reasons}")

        def leave(**_: Any) -> None:
            running.leaving.set()

        _obey(beats)
        worker_shutting_down.connect(leave, weak=False)
        reading.install(app, signs.note)
        own_words.install()
        worker = app.Worker(
            hostname=f"{queue(settings.organization)}@{settings.node}",
            pool="threads",
            concurrency=settings.runtime_concurrency,
            loglevel=settings.log_level,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
        )
        held.enter_context(health.answering(settings.health_address, ready))
        worker.start()
    return int(worker.exitcode or os.EX_OK)


def _obey(beats: Sequence[Heartbeat]) -> None:
    """Listen to the one remote control command: some attempts must stop."""

    @control_command(name=STOP_ATTEMPTS, args=[("tasks", list)])  # type: ignore[untyped-decorator]
    def stop_attempts(_: Any, **__: object) -> dict[str, str]:
        """Ask the orchestrator at once which attempts must stop."""
        for beat in beats:
            beat.beat_now()
        return {"ok": "asking"}


def _topics(settings: KafkaSettings) -> Topics:
    try:
        return Kafka(settings)
    except ImportError as error:
        raise RefusedError(
            "this runtime has no client of Kafka, which a federated execution needs: install the extra `kafka`"
        ) from error
