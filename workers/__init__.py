"""An organization's side: its Celery worker, the run of a task beside the data, its asset store."""
