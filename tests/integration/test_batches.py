"""Many claims, or completions, in one call: each is answered, and leaves behind, what a call of its own would."""

from functools import partial
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.engine import claims, reports
from orchestrator.rpc import batches
from tests.integration.counted import committing, counting
from tests.integration.twins import CLAIMS, COMPLETIONS, FEW, Twin, alone, one_after_another, shown
from tests.kit import messages
from tests.kit.member import Member, at_once, refused


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
@example([4, 0, 6], 0)
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
