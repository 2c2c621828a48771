"""Processes that tests start, and what they ask of them."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SELF = "f'{os.readlink(\"/proc/self/ns/pid\")} {os.getpid()}'"
"""What a function writes, in Python, for `outside` to find it; it must have imported os."""
STOP_SECONDS = 60


def clean_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with these settings, and without any that a developer has set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "FLOWER_"))}
    return {**kept, **(settings or {})}


@contextmanager
def running(command: Sequence[str], settings: Mapping[str, str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a program beside the block, and ask it to end afterwards.

    Args:
        command: the program and its arguments.
        settings: its settings, by their whole name; it inherits no others.
        log: file for all that it writes.

    Raises:
        TimeoutExpired: it did not end when it was asked to, and was killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=clean_environment(settings), stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


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
