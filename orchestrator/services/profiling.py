"""Profiling steps: how long the parts of a task took; each is an event only."""

from google.protobuf.empty_pb2 import Empty

from orchestrator import protos as pb
from orchestrator.core import validation
from orchestrator.store.database import Transaction


def register(transaction: Transaction, step: pb.ProfilingStep) -> Empty:
    """Tell how long a step took, in microseconds."""
    validation.check_profiling_step(step)
    transaction.events.created(step.asset_key.lower(), step)
    return Empty()
