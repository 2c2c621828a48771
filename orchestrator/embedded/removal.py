"""Removes folders that processes which were just killed may still write to."""

import shutil
import time
from pathlib import Path

_SECONDS = 5.0
_PAUSE_SECONDS = 0.05


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one that is absent is no error.

    Raises:
        OSError: something cannot be removed.
    """
    deadline = time.monotonic() + _SECONDS
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except PermissionError:
            raise
        except OSError:
            # Files come and go while the last process of a killed group ends.
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
