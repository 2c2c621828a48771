"""Names of tasks and deployments, and the numbers that are given to new ones."""

import re

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, NotFoundError

GREATEST = 2**31 - 1
"""Front ends hold ids in signed 32 bits."""

DEFAULT = "domain-0"
"""The deployment of who names none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def check_deployment(name: str) -> None:
    """Check the name of a deployment.

    Raises:
        BadRequestError: it cannot be a part of a queue's name.
    """
    if not _NAME.fullmatch(name):
        raise BadRequestError(
            f"deployment {name[:60]!r}: a name has 1 to 40 letters, digits, dots, dashes and underscores, and begins "
            "with a letter or a digit"
        )


def shown(task: pb.TaskId) -> str:
    """Return a task as messages name it."""
    return f"{{{task.problem_id}, {task.iteration_id}}}"


def key(deployment: str, task: pb.TaskId) -> str:
    """Return what events call a task."""
    return f"{deployment}/{task.problem_id}/{task.iteration_id}"


def check_task(task: pb.TaskId) -> None:
    """Check that a task id may name a task.

    Raises:
        NotFoundError: it cannot.
    """
    if not (0 < task.problem_id <= GREATEST and 0 < task.iteration_id <= GREATEST):
        raise unknown(task)


def unknown(task: pb.TaskId) -> NotFoundError:
    """Return that a task does not exist, or that its problem does not where its iteration is the latest, 0."""
    what = f"task {shown(task)}" if task.iteration_id else f"problem {task.problem_id}"
    return NotFoundError(f"{what} does not exist in this deployment; GET /api/problems lists what does")
