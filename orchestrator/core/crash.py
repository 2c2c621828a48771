"""Crash points: named places in the code at which a test can have the process die, as by `kill -9`.

A process that was started with `ORCHESTRATOR_CRASH_POINT` set to the name of a point dies there, each time that it gets
there; with `name:3`, when it gets there for the third time. Without it a point does nothing. Never set it where
anything matters.
"""

import os
import signal
from itertools import count

VARIABLE = "ORCHESTRATOR_CRASH_POINT"

_passed = count(1)


def point(name: str) -> None:
    """Die here, if this is the point that the environment names, and it is time.

    Args:
        name: of the point, as in `worker.claimed`: the process, and what it has just done.
    """
    wanted, _, times = os.environ.get(VARIABLE, "").partition(":")
    if wanted == name and next(_passed) >= int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
