"""The messages to an organization's queue: names that its workers and the relay agree on.

A poke carries a key and, for a task, the number of the attempt that is due; everything else is asked of the
orchestrator. It may come twice, late or never.
"""

RUN_TASK = "task.run"
"""Celery task with the keywords `task` and `attempt`: claim that attempt and run it."""

BUILD_FUNCTION = "function.build"
"""Celery task with the keyword `function`: build it."""


def queue(organization: str) -> str:
    """Return the name of an organization's queue."""
    return f"org.{organization}"
