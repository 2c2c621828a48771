"""Steps that remove the topics of federated executions."""

from uuid import UUID

from google.protobuf.any_pb2 import Any

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.runtimes import adapters, steps
from orchestrator.executions.runtimes.roles import Quiet


class Clean(Quiet[pb.Cleaned]):
    """Steps of that role."""

    def __init__(self) -> None:
        super().__init__(pb.Cleaned)

    def complete(self, transaction: Transaction, step: pb.ExecutionStep, result: pb.Cleaned) -> None:  # noqa: ARG002
        """Note that the topics are gone, whether they were there or not."""
        work = pb.CleanWork()
        Any.FromString(steps.work(transaction, UUID(step.key)) or b"").Unpack(work)
        adapters.note_gone(transaction, work.communication_adapters)
