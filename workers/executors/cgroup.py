"""Control groups (cgroup v2) of functions: the kernel's own limits on memory and processes, and an end for all at once.

They need a folder of the hierarchy that this user may write to and that holds no process itself: with systemd the
unit's own, where it says `Delegate=memory pids` and `DelegateSubgroup=worker`. See cgroup-v2.rst of the kernel.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from workers.executors.executor import UnfitError

_CONTROLLERS = ("memory", "pids")
_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.02


class NoGroupError(UnfitError):
    """A control group cannot be had; the message is one line that says why and what to do."""


def check(root: Path) -> None:
    """See to it that groups with limits can be made in a folder.

    Raises:
        NoGroupError: they cannot.
    """
    try:
        (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
        made = f"check-{os.getpid()}"
        make(root, made, None, 100)
        end(root, made)
    except OSError as error:
        raise NoGroupError(
            f"in ORCHESTRATOR_CGROUP={root} no control groups with the controllers memory and pids can be made "
            f"({error.strerror}); delegate a folder for them, with systemd by Delegate=memory pids and "
            "DelegateSubgroup=worker, or leave the setting out"
        ) from error


def make(root: Path | None, name: str, memory: int | None, processes: int) -> Path | None:
    """Make a group; `end` removes it.

    Args:
        root: where; None makes none.
        name: of the group.
        memory: bytes of all in it together; None for no limit.
        processes: and threads in it.

    Raises:
        OSError: it cannot be made.
    """
    if root is None:
        return None
    folder = root / name
    folder.mkdir(exist_ok=True)
    try:
        limits = {"pids.max": processes}
        if memory is not None:
            limits |= {"memory.max": memory, "memory.oom.group": 1}
        for file, limit in limits.items():
            (folder / file).write_text(str(limit))
        if memory is not None:
            # Absent where the kernel counts no swap.
            with suppress(FileNotFoundError):
                (folder / "memory.swap.max").write_text("0")
    except OSError:
        end(root, name)
        raise
    return folder


def end(root: Path | None, name: str) -> bool:
    """Kill all that is in a group, and remove it; say whether that is done. One that is absent is no fault."""
    if root is None or not (root / name).exists():
        return True
    folder = root / name
    (folder / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while "populated 1" in (folder / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    folder.rmdir()
    return True
