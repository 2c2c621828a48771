"""What tests ask of processes."""

from contextlib import suppress
from pathlib import Path

import psutil

SELF = "f'{os.readlink(\"/proc/self/ns/pid\")} {os.getpid()}'"
"""What a function writes, in Python, for `outside` to find it; it must have imported os."""


def outside(told: str) -> int:
    """Return the id by which we know a process that knows itself by another, in its sandbox.

    Args:
        told: what it wrote of itself, see `SELF`.
    """
    namespace, inside = told.split()
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if str(status.with_name("ns").joinpath("pid").readlink()) == namespace:
                ids = next(line for line in status.read_text().splitlines() if line.startswith("NSpid:"))
                if ids.split()[-1] == inside:
                    return int(status.parent.name)
    raise LookupError(f"no process knows itself as {told}")


def launcher_of(pid: int) -> int:
    """Return the id of the launcher that a function's process descends from."""
    return next(
        each.pid for each in psutil.Process(pid).parents() if any("launch.py" in word for word in each.cmdline())
    )


def lives(process: psutil.Process | int) -> bool:
    """Say whether a process runs; one that has ended and that nobody has buried yet does not.

    Args:
        process: it, or its id.
    """
    try:
        process = psutil.Process(process) if isinstance(process, int) else process
        # A container without an init process leaves the dead unburied.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
