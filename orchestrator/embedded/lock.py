"""One federation at a time in a folder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded.processes import ProcessError
from orchestrator.embedded.running import is_alive, start_time

FILE = "federation.lock"
"""Its presence also says that a folder is ours: no other folder is filled, or removed."""


class FolderTakenError(ProcessError):
    """Another federation uses the folder, or its files are not ours; the message says what to do."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if missing, as long as the block lasts; the end of the process lets go of it too.

    Args:
        folder: absent, empty, or used by federations before.

    Raises:
        FolderTakenError: somebody else holds it, or it has files of others.
        OSError: it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / FILE
    if not file.exists() and any(folder.iterdir()):
        raise FolderTakenError(f"{folder} has files that are not of a federation; name an empty or new folder")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = holder_of(folder)
            who = f", process {holder[0]}," if holder else ""
            raise FolderTakenError(
                f"a federation{who} runs in {folder} already; end it with `orchestrator down --data {folder}`, "
                "or name another folder with --data"
            ) from None
        lock.write(json.dumps({"pid": os.getpid(), "started": start_time(os.getpid())}) + "\n")
        lock.truncate()
        lock.flush()
        yield


def holder_of(folder: Path) -> tuple[int, float] | None:
    """Return the id and the start time of the process that holds a folder, None if nobody does.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        content = json.loads((folder / FILE).read_text())
        pid, started = int(content["pid"]), float(content["started"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Absent, or written this very moment.
        return None
    return (pid, started) if is_alive(pid, started) else None
