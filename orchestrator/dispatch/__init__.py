"""From the outbox to Celery, and from the commit to the readers of events."""
