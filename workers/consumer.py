"""Celery's consumer without what we never use of it."""

from typing import ClassVar

from celery.worker import consumer


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Delays are columns in Postgres: without Celery's own, no 28 queues more on each RabbitMQ vhost."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The steps of its start."""

        default_steps: ClassVar = [
            step for step in consumer.Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")
        ]
