"""From the outbox to Celery: pokes that were committed are handed to the broker, each organization's on its queue."""

import asyncio

import structlog
from celery import Celery

from orchestrator.core import pokes
from orchestrator.store import outbox
from orchestrator.store.database import Database

log = structlog.get_logger()


class Relay:
    """Sends pokes.

    A poke is marked in the transaction that locks it, after the broker took it: a crash between the two sends it
    twice, which does no harm.

    Args:
        database: where the outbox is.
        broker_url: where the queues are.
        batch: most pokes of one step.
    """

    def __init__(self, database: Database, broker_url: str, batch: int = 100) -> None:
        self._database = database
        self._batch = batch
        self._celery = Celery("relay", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            broker_connection_timeout=4,
            broker_transport_options={"socket_connect_timeout": 4, "socket_timeout": 10},
        )

    async def step(self) -> int:
        """Send one batch, in a thread; return how many pokes were sent.

        Raises:
            kombu.exceptions.OperationalError: the broker cannot be reached; nothing is marked.
        """
        return await asyncio.to_thread(self._send_batch)

    def _send_batch(self) -> int:
        with self._database.engine.begin() as connection:
            taken = outbox.take(connection, self._batch)
            for _, poke in taken:
                self._send(poke)
            outbox.mark_sent(connection, [identity for identity, _ in taken])
        if taken:
            log.info("relay.sent", pokes=len(taken))
        return len(taken)

    def _send(self, poke: outbox.Poke) -> None:
        if poke.kind == outbox.TASK:
            name, keywords = pokes.RUN_TASK, {"task": str(poke.key), "attempt": poke.attempt}
        else:
            name, keywords = pokes.BUILD_FUNCTION, {"function": str(poke.key)}
        self._celery.send_task(name, kwargs=keywords, queue=pokes.queue(poke.organization), retry=False)

    def close(self) -> None:
        """Close the connections to the broker."""
        self._celery.close()
