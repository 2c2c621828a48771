"""A server like Argo's in a process of its own, which can be killed; what it has created outlives it in a file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit import processes
from tests.kit.argo import Asked, FakeArgo
from tests.kit.brokers.tansu import listens
from tests.kit.waiting import wait_until

LIVES, DIES_BEFORE, DIES_AFTER = "lives", "before", "after"
"""Whether the first request that would create a workflow kills it: before that is created, or before the answer."""


class _Mortal(FakeArgo):
    """The server within its process.

    Args:
        port: where it listens.
        kept: the file of its workflows.
        fate: one of the above.
    """

    def __init__(self, port: int, kept: Path, fate: str) -> None:
        super().__init__(port=port)
        self._kept = kept
        self._fate = fate
        if kept.exists():
            self.workflows = json.loads(kept.read_text())

    def answer(self, asked: Asked) -> tuple[int, Any] | None:
        """Answer as its kind does, and keep what changed; or die."""
        creates = asked.method == "POST"
        if creates and self._fate == DIES_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        answered = super().answer(asked)
        self._kept.write_text(json.dumps(self.workflows))
        if creates and self._fate == DIES_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        return answered


@contextmanager
def argo_process(folder: Path, port: int, fate: str = LIVES) -> "Iterator[subprocess.Popen[bytes]]":
    """Run one beside the block.

    Args:
        folder: for its log, and the file of its workflows.
        port: where it listens.
        fate: whether it is killed in the middle of a creation.
    """
    command = [sys.executable, "-m", __name__, str(port), str(folder / "workflows.json"), fate]
    with processes.running(command, {}, folder / f"argo-{fate}.log") as process:
        wait_until(lambda: listens(port, process), 60, "the server to listen")
        yield process


def workflows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what there is, by name."""
    found: dict[str, dict[str, Any]] = json.loads((folder / "workflows.json").read_text())
    return found


if __name__ == "__main__":
    with _Mortal(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]):
        signal.sigwait({signal.SIGTERM})
