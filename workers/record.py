"""What a working folder's owner says of itself, for the agent that looks after it."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

from orchestrator import protos as pb
from workers import processes


@dataclass(frozen=True)
class Record:
    """The process that works in a folder, and what it does there. It may hold a token: for files of mode 0600.

    It runs an attempt, deletes the disabled models of a task, or does something else, such as a build.

    Args:
        pid: of the process.
        born: when it started, see `processes.born`.
        channel: of the task; empty when there is none.
        task: its key; empty when there is none.
        number: of the attempt; 0 when there is none.
        token: of the attempt; empty when there is none.
    """

    pid: int
    born: str
    channel: str = ""
    task: str = ""
    number: int = 0
    token: str = ""

    @classmethod
    def of_attempt(cls, attempt: pb.Attempt, channel: str) -> Self:
        """Return the record of this process, which runs an attempt."""
        return cls._own(channel, attempt.compute_task_key, attempt.number, attempt.token)

    @classmethod
    def of_models(cls, task: str, channel: str) -> Self:
        """Return the record of this process, which deletes the disabled models of a task."""
        return cls._own(channel, task)

    @classmethod
    def of_other(cls) -> Self:
        """Return the record of this process, of which the orchestrator need not be told anything."""
        return cls._own()

    @classmethod
    def _own(cls, channel: str = "", task: str = "", number: int = 0, token: str = "") -> Self:
        pid = os.getpid()
        return cls(pid, processes.born(pid), channel, task, number, token)

    @property
    def runs(self) -> bool:
        """Whether the process runs an attempt."""
        return bool(self.token)

    @property
    def attempt(self) -> pb.Attempt:
        """The attempt as the orchestrator knows it; it means nothing where none runs."""
        return pb.Attempt(compute_task_key=self.task, number=self.number, token=self.token)

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """Read what `dump` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is no record of a working folder's owner: {type(error).__name__}") from error

    def __repr__(self) -> str:
        return f"Record(pid={self.pid}, task={self.task!r}, number={self.number})"
