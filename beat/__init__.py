"""What runs by the clock: the Celery app of the maintenance worker, its schedule, one module per sweep."""
