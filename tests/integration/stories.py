"""A plan that ends in some way, and those that continue it."""

from typing import Any
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import (
    continuations,
    functions,
    reruns,
    task_actions,
    tasks,
)
from orchestrator.core.states import TASK_WORDS
from tests.kit import messages
from tests.kit.member import Member

RETRY, RERUN = pb.CONTINUATION_RETRY, pb.CONTINUATION_RERUN


class Story:
    """A plan of org-1: root -> left, right -> top; what happens to it, and to those that continue it."""

    def __init__(self, network: Member, **changes: Any) -> None:
        self.network = network
        self.plan = network.new_plan(metadata={"a": "b"})
        self.root = self.add(**changes)
        self.left, self.right = self.add(self.root, metadata={"round": "1"}), self.add(self.root)
        self.top = self.add(self.left, self.right)

    def add(self, *parents: UUID, **changes: Any) -> UUID:
        return self.network.register(1, [str(parent) for parent in parents], self.plan, **changes)[0]

    def fail(self, task: UUID) -> None:
        self.network.fail(self.network.claim(task).attempt, pb.ERROR_TYPE_EXECUTION)

    def broken(self) -> "Story":
        """Let the root and the left be Done, and the right fail."""
        self.network.run(self.root)
        self.network.run(self.left)
        self.fail(self.right)
        return self

    def retry(self, plan: Any = None, key: str = "", **changes: Any) -> pb.Continuation:
        asked = pb.RetryPlanParam(
            compute_plan_key=messages.key_of(plan or self.plan), key=key or messages.new_key(), **changes
        )
        return self.network.call(continuations.retry, asked)

    def rerun(self, key: str = "", **changes: Any) -> pb.Continuation:
        asked = pb.RerunPlanParam(compute_plan_key=self.plan.key, key=key or messages.new_key(), **changes)
        return self.network.call(reruns.rerun, asked)

    def task(self, key: Any) -> pb.ComputeTask:
        return self.network.call(tasks.show, pb.GetTaskParam(key=str(key)))

    def links(self, plan: Any = None) -> pb.Continuations:
        asked = pb.GetContinuationsParam(compute_plan_key=messages.key_of(plan or self.plan))
        return self.network.call(continuations.get, asked)

    def model(self, task: UUID) -> str:
        return str(self.network.rows("SELECT key FROM models WHERE task_key = :task", task=task)[0].key)

    def disable(self, task: UUID) -> None:
        asked = pb.DisableOutputParam(compute_task_key=str(task), identifier="model")
        self.network.call(task_actions.disable_output, asked)

    def words(self, plan: Any = None) -> dict[str, str]:
        rows = self.network.rows(
            "SELECT key, status FROM task_states WHERE plan_key = :plan", plan=messages.key_of(plan or self.plan)
        )
        return {str(row.key): TASK_WORDS[row.status] for row in rows}


def places(continued: pb.Continuation) -> dict[str, str]:
    """What stands in the place of each task; nothing where it is reused."""
    return {task.origin_task_key: task.compute_task_key for task in continued.tasks}


def given(task: pb.ComputeTask) -> list[str]:
    return [each.asset_key or each.parent_task_output.parent_task_key for each in task.inputs]


TRANSIENT = {"outputs": {"model": messages.output(transient=True)}}


def replaced(network: Member, **changes: Any) -> pb.Function:
    function = network.call(functions.register, messages.new_function(**changes))
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        network.act(function, action)
    return function
