"""Messages of the orchestrator as members of the module's types, and back."""

from collections.abc import Iterator
from typing import Any

from orchestrator import protos as pb
from orchestrator_modules.frames import Members
from orchestrator_modules.members import MEMBERS

_PART = 2 << 20


def members_of(message: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of a message's type, and its members."""
    name = message.DESCRIPTOR.name
    return name, {member: _plain(kind.name, getattr(message, member)) for member, kind in MEMBERS[name].items()}


def parsed(given: pb.StageInput) -> tuple[str, dict[str, Any]]:
    """Return the same of an input.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    message = getattr(pb, given.type.rpartition(".")[2])()
    message.ParseFromString(given.message)
    return members_of(message)


def message_of(name: str, members: Members) -> Any:
    """Return the message of a type.

    Args:
        name: of the type.
        members: its members.
    """
    message = getattr(pb, name)()
    for member, kind in MEMBERS[name].items():
        value = members[member]
        if kind.name == "task_id":
            message.task_id.problem_id, message.task_id.iteration_id = value
        elif kind.name == "list":
            getattr(message, member).extend(value)
        else:
            setattr(message, member, value)
    return message


def largest(members: Members) -> str:
    """Return the name of the member that has the most to say, empty where there is none."""
    sizes = {
        name: sum(map(len, value)) if isinstance(value, list) else _length(value) for name, value in members.items()
    }
    return max(sizes, key=lambda name: sizes[name], default="")


def _length(value: object) -> int:
    return len(value) if isinstance(value, bytes | str) else 0


def parts(attempt: pb.Attempt, data: bytes, failure: pb.StageFailure | None = None) -> Iterator[pb.StagePart]:
    """Yield what is sent of an attempt, in parts.

    Args:
        attempt: which.
        data: all bytes.
        failure: why it failed, where it has.
    """
    yield pb.StagePart(attempt=attempt, failure=failure, data=data[:_PART])
    for start in range(_PART, len(data), _PART):
        yield pb.StagePart(data=data[start : start + _PART])


def _plain(kind: str, value: Any) -> Any:
    if kind == "task_id":
        return value.problem_id, value.iteration_id
    return list(value) if kind == "list" else value
