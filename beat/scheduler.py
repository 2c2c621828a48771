"""What the beat's clock fires, and when: no sweeps into a queue from which nobody takes them."""

from typing import Any

import structlog
from celery import beat
from kombu.messaging import Producer

log = structlog.get_logger()

_RETRIES = 2


class Scheduler(beat.Scheduler):  # type: ignore[misc]
    """Celery's, but that it passes over a sweep when several rounds of all of them wait already.

    A message that expires goes from a Redis only when a worker takes it. Those of a maintenance worker that hangs would
    be 70,000 a day.
    """

    _ROUNDS = 3
    _held = False

    def apply_async(self, entry: Any, producer: Producer | None = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send an entry's message, if those before it have been taken.

        Args:
            entry: of the schedule.
            producer: on the connection to use.
            advance: as Celery has it.
            kwargs: as Celery has it.

        Raises:
            kombu.exceptions.OperationalError: the broker is away; Celery logs it and goes on.
        """
        try:
            waiting = self._waiting(producer) if producer is not None else 0
            held, self._held = self._held, waiting >= self._ROUNDS * len(self.schedule)
            if self._held:
                if not held:
                    log.error("sweeps.not_taken", waiting=waiting, reason="the maintenance worker hangs, or is gone")
                return None
            if held:
                log.info("sweeps.taken_again")
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        except Exception:
            # A producer that was not revived in time never is: the next entry is sent by a new one.
            self.connection.collect()
            del self.producer
            raise

    def _waiting(self, producer: Producer) -> int:
        """Return how many messages nobody has been given."""
        queue = self.app.amqp.queues[self.app.conf.task_default_queue]
        declare = producer.connection.ensure(
            producer, lambda: queue.bind(producer.channel).queue_declare(), max_retries=_RETRIES
        )
        return int(declare().message_count)
