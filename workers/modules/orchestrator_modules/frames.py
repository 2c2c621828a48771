"""What the process of a script and its agent tell each other, over a pair of sockets that both inherit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Members = Mapping[str, Any]
"""A message's members, as `Message.members` has them."""


@dataclass(frozen=True)
class Program:
    """How a process was started.

    Args:
        command: the file of the interpreter and its arguments.
        folder: the one that was current.
    """

    command: tuple[str, ...]
    folder: str


@dataclass(frozen=True)
class Held:
    """An attempt at which a callback works.

    Args:
        channel: of the orchestrator in which it was claimed.
        attempt: the attempt with its token, serialized.
    """

    channel: str
    attempt: bytes


@dataclass(frozen=True)
class Hello:
    """What a script tells each agent first.

    Args:
        kind: the name of the module's kind.
        name: of the module.
        deployment: in which it works.
        process: random, the same as long as the process of the script lives.
        slots: how many callbacks run at once.
        program: how the script was started.
        spinning: whether it takes tasks already.
        held: what runs, where an earlier agent of this process is gone.
        command: the command because of which this process was started afresh, empty without.
    """

    kind: str
    name: str
    deployment: str
    process: str
    slots: int
    program: Program
    spinning: bool = False
    held: Mapping[str, Held] | None = None
    command: str = ""


@dataclass(frozen=True)
class Spin:
    """The script takes tasks from now on."""


@dataclass(frozen=True)
class Task:
    """Work for a callback.

    Args:
        job: names it between the two processes.
        held: the attempt.
        inputs: in the order of the kind, each with the name of its type.
        status: of the module, when it begins.
    """

    job: str
    held: Held
    inputs: tuple[tuple[str, Members], ...]
    status: Members


@dataclass(frozen=True)
class Stop:
    """A callback must end.

    Args:
        job: which.
    """

    job: str


@dataclass(frozen=True)
class Outcome:
    """A callback has ended by itself.

    Args:
        job: which.
        output: what it wrote; None where it raised.
        error: `EXCEPTION` or `NODE_ERROR`; empty where it has done its work.
        message: why, for people.
    """

    job: str
    output: Members | None
    error: str = ""
    message: str = ""


@dataclass(frozen=True)
class Stopped:
    """A callback that had to end has ended.

    Args:
        job: which.
    """

    job: str


@dataclass(frozen=True)
class Request:
    """A configuration request.

    Args:
        number: names it between the two processes.
        request: the members of a RequestType.
    """

    number: int
    request: Members


@dataclass(frozen=True)
class Response:
    """The answer to a configuration request.

    Args:
        number: of which.
        response: the members of a ResponseType.
    """

    number: int
    response: Members


@dataclass(frozen=True)
class End:
    """The process of the script must end, with code 0.

    Args:
        again: whether it is started again, by the same command line.
        command: the command that wants it, empty without.
    """

    again: bool
    command: str = ""


@dataclass(frozen=True)
class Leave:
    """The script ends: what runs is to be given back."""


@dataclass(frozen=True)
class Left:
    """All is given back, or cannot be."""
