"""What stages have made, as calls show it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import outputs


@dataclass(frozen=True)
class Made:
    """Outputs of an iteration.

    Args:
        outputs: by the number of the kind, without the bytes of a model.
        raw_size: how many these are.
        diagnoses: what stages had written that failed, by the number of the kind.
    """

    outputs: Mapping[int, Message] = field(default_factory=dict)
    raw_size: int = 0
    diagnoses: Mapping[int, Message] = field(default_factory=dict)


def diagnosed(transaction: Transaction, deployment: str, iteration: pb.Iteration, made: Made) -> Made:
    """Return what stages have made, with what those had written that failed: for people, and for no module."""
    failed = [stage.kind for stage in iteration.stages if stage.state == pb.STAGE_ERROR]
    found = {kind: outputs.diagnosis(transaction, deployment, iteration.task_id, kind) for kind in failed}
    return replace(made, diagnoses={kind: output for kind, output in found.items() if output is not None})


def read(transaction: Transaction, deployment: str, iteration: pb.Iteration, kinds: Collection[int]) -> Made:
    """Return what stages of an iteration have made that succeeded.

    Args:
        transaction: of the caller.
        deployment: whose.
        iteration: with its stages.
        kinds: of the stages.
    """
    wanted = [kind for kind in kinds if iteration.stages[kind].state == pb.STAGE_SUCCEEDED]
    found = outputs.of_kinds(transaction, deployment, iteration.task_id, wanted) if wanted else {}
    has_model = any(isinstance(output, pb.MLModel) for output in found.values())
    size = outputs.raw_model_size(transaction, deployment, iteration.task_id) if has_model else 0
    return Made(found, size)
