"""What the tests of attempts share."""

from orchestrator import protos as pb
from orchestrator.core.rules import Rules

LEASE = Rules().lease


def seconds(duration) -> float:
    return duration.ToTimedelta().total_seconds()


def forged(attempt: pb.Attempt, **changes) -> pb.Attempt:
    made = pb.Attempt()
    made.CopyFrom(attempt)
    for name, value in changes.items():
        setattr(made, name, value)
    return made
