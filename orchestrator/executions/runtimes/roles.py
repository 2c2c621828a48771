"""What the steps of one role are asked: the part of the kind of work that differs between them."""

from typing import Generic, Protocol, TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.engine.kinds import Failure
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction

Result = TypeVar("Result", bound=Message)


class Role(Protocol[Result]):
    """Steps that do the same."""

    result: type[Result]
    """What a worker reports that has done one."""

    def handed(self, transaction: Transaction, step: pb.ExecutionStep, work: Any) -> None:
        """Change what a worker is told that has claimed one, by what is so now."""

    def complete(self, transaction: Transaction, step: pb.ExecutionStep, result: Result) -> None:
        """Register what an attempt has done; the step is Done in this transaction."""

    def fail(self, transaction: Transaction, step: pb.ExecutionStep, failure: Failure) -> None:
        """Register why a step has failed for good."""

    def ended(self, transaction: Transaction, task: Task, step: pb.ExecutionStep) -> None:
        """Do what follows when a step has ended."""


class Quiet(Generic[Result]):
    """Nothing follows of what its steps do; for roles to build on.

    Args:
        result: what a worker reports that has done one.
    """

    def __init__(self, result: type[Result]) -> None:
        self.result = result

    def handed(self, transaction: Transaction, step: pb.ExecutionStep, work: Any) -> None:
        """Leave it as it is."""

    def complete(self, transaction: Transaction, step: pb.ExecutionStep, result: Result) -> None:
        """Keep nothing."""

    def fail(self, transaction: Transaction, step: pb.ExecutionStep, failure: Failure) -> None:
        """Keep nothing: the event says why."""

    def ended(self, transaction: Transaction, task: Task, step: pb.ExecutionStep) -> None:
        """Do nothing."""
