"""Tasks in all states, twice: what is done to one in one way is done to its twin in another, and both are compared."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings

from orchestrator import protos as pb
from orchestrator.compute import models
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine import reports
from orchestrator.rpc.batches import _refusal
from tests.kit import messages
from tests.kit.member import Member

KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Twin:
    """Tasks of one plan, in the same states as those of its twin, by which each element of a batch finds its own.

    Args:
        member: who runs them.
        stranger: who runs one of them.
    """

    member: Member
    stranger: Member

    def __post_init__(self) -> None:
        plan = self.member.new_plan()
        self.free = self.member.register(3, plan=plan)
        self.claimed = self.member.register(3, plan=plan)
        (self.done,) = self.member.register(1, plan=plan)
        (self.foreign,) = self.member.register(1, plan=plan, worker=self.stranger.organization)
        # One of two parents that are claimed, and one of these and of one that is done.
        self.child = self.member.below(*self.claimed[:2], plan=plan)
        self.late = self.member.below(self.claimed[2], self.done, plan=plan)
        self.ids = {task: messages.new_key() for task in (*self.free, *self.claimed)}
        self.attempts = {task: self.member.claim(task, claim_id=self.ids[task]).attempt for task in self.claimed}
        self.report = self.completion(self.done, self.member.claim(self.done).attempt)
        self.member.call(reports.complete, self.report)
        self.taken = self.report.models[0].key

    @property
    def all(self) -> list[UUID]:
        return [*self.free, *self.claimed, self.done, self.foreign, self.child, self.late]

    def claim(self, task: UUID, attempt: int = 0, claim_id: str = "") -> pb.ClaimTaskParam:
        claim_id = claim_id or self.ids.get(task, "another")
        return pb.ClaimTaskParam(compute_task_key=str(task), attempt=attempt, node="node-1", claim_id=claim_id)

    def completion(self, task: UUID, attempt: pb.Attempt, key: str = "", **changes: Any) -> pb.CompleteTaskParam:
        model = messages.new_model(str(task), key=key or messages.new_key(), **changes)
        return pb.CompleteTaskParam(attempt=attempt, models=[model])

    def left(self) -> list[object]:
        """All that is kept of the tasks, without their keys, and without what is drawn by chance."""
        found: list[object] = []
        for task in self.all:
            row = self.member.row(task)
            kept = [(each.number, each.node, each.outcome, each.fault) for each in self.member.attempts(task)]
            made = self.member.call(models.of_task, pb.GetComputeTaskModelsParam(compute_task_key=str(task))).models
            history = [(word, KEY.sub("*", reason)) for word, reason in self.member.history(task)]
            found.append((row.status, row.pending_parents, row.attempts, kept, len(made), history))
        return found


CLAIMS: Sequence[Callable[[Twin], pb.ClaimTaskParam]] = [
    *(lambda twin, number=number: twin.claim(twin.free[number]) for number in range(3)),
    lambda twin: twin.claim(twin.free[0], attempt=2),
    lambda twin: twin.claim(twin.free[1], claim_id=messages.new_key()),
    lambda twin: twin.claim(twin.claimed[0]),
    lambda twin: twin.claim(twin.claimed[1], claim_id="another"),
    lambda twin: twin.claim(twin.done),
    lambda twin: twin.claim(twin.foreign),
    lambda twin: twin.claim(twin.child),
    lambda twin: twin.claim(UUID(int=7)),
    lambda twin: pb.ClaimTaskParam(compute_task_key="no key", claim_id="one"),
    lambda twin: pb.ClaimTaskParam(compute_task_key=str(twin.free[2])),
    lambda twin: pb.ClaimTaskParam(compute_task_key=str(twin.free[2]), claim_id="one", node="a\0b"),
]


def own(twin: Twin, number: int) -> pb.CompleteTaskParam:
    """The report of a claimed attempt: the same each time that it is asked for."""
    task = twin.claimed[number]
    key = twin.ids[task]
    return twin.completion(task, twin.attempts[task], key)


def wrong(twin: Twin) -> pb.Attempt:
    (task, *_) = twin.claimed
    return pb.Attempt(compute_task_key=str(task), number=1, token="wrong")


COMPLETIONS: Sequence[Callable[[Twin], pb.CompleteTaskParam]] = [
    *(lambda twin, number=number: own(twin, number) for number in range(3)),
    lambda twin: own(twin, 0),
    lambda twin: twin.completion(twin.claimed[0], wrong(twin)),
    lambda twin: twin.completion(twin.claimed[1], twin.attempts[twin.claimed[1]], twin.taken),
    lambda twin: twin.completion(twin.claimed[2], twin.attempts[twin.claimed[2]], twin.ids[twin.claimed[0]]),
    lambda twin: twin.completion(
        twin.claimed[1], twin.attempts[twin.claimed[1]], compute_task_output_identifier="nothing"
    ),
    lambda twin: twin.completion(
        twin.claimed[2], twin.attempts[twin.claimed[2]], address=messages.address(storage_address="a\0b")
    ),
    lambda twin: twin.completion(twin.claimed[2], twin.attempts[twin.claimed[0]]),
    lambda twin: twin.report,
    lambda twin: pb.CompleteTaskParam(attempt=pb.Attempt(compute_task_key=str(UUID(int=7)), token="t")),
    lambda twin: pb.CompleteTaskParam(),
]


def shown(member: Member, answer: Any) -> object:
    """An answer without what is drawn by chance; of a claim that its token holds."""
    if isinstance(answer, pb.Refusal):
        return answer.code, KEY.sub("*", answer.message)
    if isinstance(answer, pb.ClaimTaskResponse):
        return "claimed", answer.attempt.number, answer.lease.seconds, len(answer.input_assets), answer.function.name
    return type(answer).__name__


def alone(member: Member, use_case: Callable[..., Any], asked: Any) -> Any:
    try:
        return member.call(use_case, asked)
    except OrchestratorError as error:
        return _refusal("alone", error)


def one_after_another(
    member: Member, use_case: Callable[..., Any], asked: Sequence[Any], task: Callable[[Any], str], seed: int
) -> list[Any]:
    """Answer each by a call of its own, in any order, but for those of one task."""
    order = list(range(len(asked)))
    random.Random(seed).shuffle(order)
    by_task: dict[str, list[int]] = {}
    for number in sorted(order):
        by_task.setdefault(task(asked[number]), []).append(number)
    answers: dict[int, Any] = {}
    for number in order:
        following = by_task[task(asked[number])].pop(0)
        answers[following] = alone(member, use_case, asked[following])
    return [answers[number] for number in range(len(asked))]
