"""Many claims, or completions, in one call: each is answered, and leaves behind, what a call of its own would."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.compute import models
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine import claims, reports
from orchestrator.rpc import batches
from orchestrator.rpc.batches import _refusal
from tests.integration.counted import committing, counting
from tests.kit import messages
from tests.kit.member import Member, at_once, refused

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


@FEW
@given(st.lists(st.integers(0, len(CLAIMS) - 1), min_size=1, max_size=8), st.integers())
def test_claims_of_a_batch_are_what_they_are_one_after_another(network, stranger, chosen: list[int], seed: int):
    batch, single = Twin(network, stranger), Twin(network, stranger)
    asked = pb.ClaimTasksParam(claims=[CLAIMS[number](batch) for number in chosen])
    results = [getattr(each, each.WhichOneof("result")) for each in network.call(batches.claim, asked).results]
    each = [CLAIMS[number](single) for number in chosen]
    answers = one_after_another(network, claims.claim, each, lambda claim: claim.compute_task_key, seed)
    assert [shown(network, result) for result in results] == [shown(network, answer) for answer in answers]
    assert batch.left() == single.left()
    held = {result.attempt.compute_task_key: result.attempt for result in results if hasattr(result, "attempt")}
    assert not network.heartbeat(*held.values()).stops


@FEW
@given(st.lists(st.integers(0, len(COMPLETIONS) - 1), min_size=1, max_size=6, unique=True), st.integers())
def test_completions_of_a_batch_are_what_they_are_one_after_another(network, stranger, chosen: list[int], seed: int):
    batch, single = Twin(network, stranger), Twin(network, stranger)
    asked = pb.CompleteTasksParam(reports=[COMPLETIONS[number](batch) for number in chosen])
    results = [getattr(each, each.WhichOneof("result")) for each in network.call(batches.complete, asked).results]
    # Two may give one key to their models: of these the first in the batch, in the order of the batch.
    each = [COMPLETIONS[number](single) for number in chosen]
    answers = one_after_another(network, reports.complete, each, lambda _: "", seed)
    assert [shown(network, result) for result in results] == [shown(network, answer) for answer in answers]
    assert batch.left() == single.left()


def test_a_batch_that_goes_through_is_one_commit_and_a_statement_for_all(network: Member):
    tasks = network.register(20)
    child = network.below(*tasks)
    network.run(network.register()[0])
    with counting() as statements, committing() as commits:
        claimed = network.call(batches.claim, pb.ClaimTasksParam(claims=[claim(task) for task in tasks])).results
    # The function of all, and the NOTIFY of a process without pumps.
    assert (len(statements), len(commits)) == (3, 1)
    done = [report(each.claimed.attempt) for each in claimed]
    with counting() as statements, committing() as commits:
        answers = network.call(batches.complete, pb.CompleteTasksParam(reports=done)).results
    # A savepoint and its release, and that NOTIFY.
    assert (len(statements), len(commits)) == (5, 1)
    assert [each.WhichOneof("result") for each in answers] == ["completed"] * 20
    assert network.words(tasks) == ["Done"] * 20
    assert network.word(child) == "To do"
    assert [poke.key for poke in network.send() if poke.key == child] == [child]
    # The same again changes nothing.
    again = network.call(batches.complete, pb.CompleteTasksParam(reports=done)).results
    assert [each.WhichOneof("result") for each in again] == ["completed"] * 20
    assert len(network.history(child)) == 2


def claim(task: UUID, claim_id: str = "") -> pb.ClaimTaskParam:
    return pb.ClaimTaskParam(compute_task_key=str(task), claim_id=claim_id or messages.new_key())


def report(attempt: pb.Attempt) -> pb.CompleteTaskParam:
    return pb.CompleteTaskParam(attempt=attempt, models=[messages.new_model(attempt.compute_task_key)])


def test_batches_and_calls_that_meet_claim_each_task_once_and_complete_it_once(network: Member):
    for _ in range(5):
        tasks = network.register(12)
        child = network.below(*tasks)

        def batch(order: list[UUID]) -> list[pb.Attempt]:
            asked = pb.ClaimTasksParam(claims=[claim(task) for task in order])
            results = network.call(batches.claim, asked).results
            return [each.claimed.attempt for each in results if each.HasField("claimed")]

        def single(task: UUID) -> list[pb.Attempt]:
            answer = alone(network, claims.claim, claim(task))
            return [answer.attempt] if isinstance(answer, pb.ClaimTaskResponse) else []

        held = at_once(
            partial(batch, tasks), partial(batch, tasks[::-1]), *(partial(single, task) for task in tasks[::4])
        )
        attempts = [attempt for each in held for attempt in each]
        assert sorted(UUID(attempt.compute_task_key) for attempt in attempts) == sorted(tasks)
        done = [report(attempt) for attempt in attempts]

        def complete(order: list[pb.CompleteTaskParam]) -> int:
            results = network.call(batches.complete, pb.CompleteTasksParam(reports=order)).results
            return sum(each.HasField("completed") for each in results)

        counts = at_once(
            partial(complete, done), partial(complete, done[::-1]), partial(network.call, reports.complete, done[0])
        )
        assert counts[:2] == [12, 12]
        assert network.words(tasks) == ["Done"] * 12
        assert [network.row(child).pending_parents, network.word(child)] == [0, "To do"]
        assert len(network.history(child)) == 2


def test_a_cancellation_that_meets_a_batch_leaves_each_task_in_one_end(network: Member):
    for _ in range(5):
        plan = network.new_plan()
        tasks = network.register(8, plan=plan)
        asked = pb.ClaimTasksParam(claims=[claim(task) for task in tasks])
        done = [report(each.claimed.attempt) for each in network.call(batches.claim, asked).results]
        complete = partial(network.call, batches.complete, pb.CompleteTasksParam(reports=done))
        answers, _ = at_once(complete, partial(network.cancel, plan))
        words = network.words(tasks)
        assert [each.HasField("completed") for each in answers.results] == [word == "Done" for word in words]
        assert set(words) <= {"Done", "Cancelled"}
        for task in tasks:
            assert sum(word in ("Done", "Cancelled") for word, _ in network.history(task)) == 1


@pytest.mark.parametrize("count", [0, 101])
def test_none_and_too_many_are_refused(network: Member, count: int):
    with refused("OE0003", f"1 to 100 are taken in one call, {count} are given"):
        network.call(batches.claim, pb.ClaimTasksParam(claims=[pb.ClaimTaskParam()] * count))
    with refused("OE0003", f"{count} are given"):
        network.call(batches.complete, pb.CompleteTasksParam(reports=[pb.CompleteTaskParam()] * count))
