"""A server of a federation on one machine: a process of ours on a port that stays the same over restarts."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.processes import Process, ProcessError


class Server(ABC):
    """What every such server has; how it starts, says its class. As a context manager it runs as long as the block.

    Args:
        port: where it listens; a free one by default.
    """

    name: str

    def __init__(self, port: int | None = None) -> None:
        self._port = port
        self._process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it answers."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._port is None:
            self._port = free_port()
        return self._port

    @property
    def process(self) -> Process:
        """The server process.

        Raises:
            ProcessError: it was never started.
        """
        if self._process is None:
            raise ProcessError(f"{self.name} was not started")
        return self._process

    def check(self) -> None:
        """Do nothing if it runs, else raise `ProcessError`."""
        self.process.check()

    def stop(self) -> None:
        """End the server; without effect if it does not run."""
        if self._process is not None:
            self._process.stop()

    def _check_down(self) -> None:
        if self._process is not None and self._process.alive:
            raise RuntimeError(f"{self.name} runs already")
