"""Memory of processes, as Linux counts it."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

MEGABYTE = 1024 * 1024


class Peak:
    """The most memory that processes held while a block ran, the sum of each one's peak.

    Args:
        processes: whose.
    """

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self.megabytes = 0.0

    def __enter__(self) -> Self:
        for process in self._processes:
            # 5 resets the peak, see proc(5).
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.megabytes = sum(peak(process) for process in self._processes)


def peak(process: psutil.Process) -> float:
    """Return the most memory that a process ever held, in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def shared(processes: Sequence[psutil.Process]) -> float:
    """Return the memory of processes in MB, what several share counted once."""
    return float(sum(process.memory_full_info().pss for process in processes)) / MEGABYTE
