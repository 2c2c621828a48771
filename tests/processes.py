"""What tests ask of processes."""

import psutil


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
