"""Locks that a process holds for as long as it lives, however it ends."""

import fcntl
import os
from pathlib import Path


def is_held(file: Path) -> bool:
    """Say whether somebody holds the lock of a file; where there is no such file, nobody does."""
    try:
        lock = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
