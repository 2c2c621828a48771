"""Explanations of tasks: why one is in its state."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps
from orchestrator.client.task import Task
from orchestrator.core.states import TASK_WORDS


@dataclass(frozen=True)
class Explanation:
    """Why a task is in its state.

    Args:
        task: its key.
        state: what people call it, as in `To do`.
        since: when it came into it.
        sentence: all causes, for people; times are UTC.
        causes: the nearest first; where a parent is waited for, those of the ancestor that could be moved now follow.
    """

    task: str
    state: str
    since: datetime
    sentence: str
    causes: Sequence[pb.Cause]

    def __str__(self) -> str:
        return self.sentence

    __repr__ = __str__

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        causes = [MessageToDict(cause, preserving_proto_field_name=True) for cause in self.causes]
        since = self.since.isoformat().replace("+00:00", "Z")
        return {"task": self.task, "state": self.state, "since": since, "sentence": self.sentence, "causes": causes}


def explain(task: Task | pb.ComputeTask | str) -> Steps[Explanation]:
    """Ask why a task is in its state; see `Client.explain`."""
    key = yield from keys.find(task, pb.ASSET_COMPUTE_TASK, Task, pb.ComputeTask)
    asked = pb.ExplainTaskParam(compute_task_key=key)
    answer: pb.Explanation = yield lambda client: client.inspection.ExplainTask(asked)
    return Explanation(
        answer.compute_task_key,
        TASK_WORDS[answer.status],
        answer.since.ToDatetime(UTC),
        printable(answer.sentence),
        list(answer.causes),
    )
