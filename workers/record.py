"""What a working folder's owner says of itself, for the heart that looks after it."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

from orchestrator import protos as pb
from workers import processes


@dataclass(frozen=True)
class Record:
    """The process that works in a folder, and the attempt that it runs. It holds a token: for files of mode 0600.

    Args:
        pid: of the process.
        born: when it started, see `processes.born`.
        channel: of the task; empty for a build.
        task: its key; empty for a build.
        number: of the attempt.
        token: of the attempt.
    """

    pid: int
    born: str
    channel: str = ""
    task: str = ""
    number: int = 0
    token: str = ""

    @classmethod
    def of(cls, attempt: pb.Attempt | None = None, channel: str = "") -> Self:
        """Return the record of this process, of an attempt that it runs, or of a build."""
        pid = os.getpid()
        if attempt is None:
            return cls(pid, processes.born(pid))
        return cls(pid, processes.born(pid), channel, attempt.compute_task_key, attempt.number, attempt.token)

    @property
    def attempt(self) -> pb.Attempt:
        """The attempt as the orchestrator knows it; it means nothing for a build."""
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
