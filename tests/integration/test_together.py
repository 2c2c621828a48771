"""Calls that are done in one transaction: each is answered, and leaves behind, what it would by itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.compute import agreements, models, plans, task_actions
from orchestrator.engine import batches, claims, reports, together
from orchestrator.engine.together import Call, Done
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.rpc.methods import METHODS
from tests.integration.counted import committing, counting
from tests.integration.twins import CLAIMS, COMPLETIONS, FEW, KEY, Twin, alone, shown
from tests.kit import messages
from tests.kit.database import deadlocks
from tests.kit.member import Member, at_once

LATCH = "SELECT pg_advisory_xact_lock(hashtextextended(CAST(%s AS text), 0))"
ALONE = {
    pb.ApplyTaskActionParam: (task_actions.apply, task_actions.apply_together),
    pb.RegisterModelsParam: (models.register, models.register_together),
    pb.ClaimTaskParam: (claims.claim, batches.claim_together),
    pb.ClaimAgreedParam: (agreements.claim, agreements.claim_together),
    pb.CompleteTaskParam: (reports.complete, batches.complete_together),
}


def call(member: Member, request: Any, begin: Callable[[Transaction], None] = lambda _: None) -> Call:
    return Call(member.organization, member.channel, ALONE[type(request)][1], request, begin)


def try_together(member: Member, *requests: Any) -> list[bool]:
    """Do requests in one transaction; return which of them were done."""
    done = together.run(member.database.run, [call(member, request) for request in requests])
    return [number in done for number in range(len(requests))]


def answers(member: Member, requests: Sequence[Any]) -> dict[int, Any]:
    """Answer requests as a server does: together, and what is left one after another.

    Returns:
        What each is answered with by its place, in the order in which they were done: what is left comes later.
    """
    done = together.run(member.database.run, [call(member, request) for request in requests])
    found = {number: done[number].response for number in sorted(done)}
    left = (number for number in range(len(requests)) if number not in done)
    return found | {number: alone(member, ALONE[type(requests[number])][0], requests[number]) for number in left}


def beside(member: Member, several: Sequence[Any], single: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield what each request is answered with, and its twin, which are all done alone, in the same order."""
    for number, answer in answers(member, several).items():
        yield answer, alone(member, ALONE[type(single[number])][0], single[number])


def start(task: UUID, **changes: Any) -> pb.ApplyTaskActionParam:
    return pb.ApplyTaskActionParam(compute_task_key=str(task), action=pb.TASK_ACTION_EXECUTING, **changes)


def end(task: UUID, **changes: Any) -> pb.ApplyTaskActionParam:
    return pb.ApplyTaskActionParam(compute_task_key=str(task), action=pb.TASK_ACTION_DONE, **changes)


def made(*tasks: UUID, key: str = "", **changes: Any) -> pb.RegisterModelsParam:
    new = [messages.new_model(str(task), key=key or messages.new_key(), **changes) for task in tasks]
    return pb.RegisterModelsParam(models=new)


@dataclass
class Older:
    """Tasks of one plan whose worker has no attempts, in the same states as those of their twins."""

    member: Member
    stranger: Member

    def __post_init__(self) -> None:
        plan = self.member.new_plan()
        self.free = self.member.register(3, plan=plan)
        self.doing = self.member.register(4, plan=plan)
        self.ended = self.member.register(1, plan=plan)
        self.claimed = self.member.register(1, plan=plan)
        self.foreign = self.member.register(1, plan=plan, worker=self.stranger.organization)
        self.below = [self.member.below(*self.doing[:2], plan=plan), self.member.below(*self.doing[2:], plan=plan)]
        for task in (*self.doing, *self.ended):
            self.member.start(task)
        self.taken = made(self.ended[0])
        self.member.call(models.register, self.taken)
        self.member.end(self.ended[0], pb.TASK_ACTION_DONE)
        self.member.claim(self.claimed[0])

    def left(self) -> list[object]:
        found: list[object] = []
        for task in (*self.free, *self.doing, *self.ended, *self.claimed, *self.foreign, *self.below):
            row = self.member.row(task)
            kept = [(each.number, each.outcome, each.lease_until is None) for each in self.member.attempts(task)]
            of_task = self.member.call(models.of_task, pb.GetComputeTaskModelsParam(compute_task_key=str(task))).models
            history = [(word, KEY.sub("*", reason)) for word, reason in self.member.history(task)]
            found.append((row.status, row.pending_parents, row.attempts, kept, len(of_task), history))
        return found


OLDER: Sequence[Callable[[Older], Any]] = [
    lambda twin: start(twin.free[0]),
    lambda twin: start(twin.free[0]),
    lambda twin: start(twin.free[1], log="why"),
    lambda twin: start(twin.foreign[0]),
    lambda twin: start(twin.claimed[0]),
    lambda twin: start(UUID(int=7)),
    lambda twin: start(twin.free[2], log="a\0b"),
    lambda twin: end(twin.doing[0]),
    lambda twin: end(twin.doing[1]),
    lambda twin: end(twin.doing[1]),
    lambda twin: end(twin.claimed[0]),
    lambda twin: end(twin.below[0]),
    lambda twin: pb.ApplyTaskActionParam(compute_task_key=str(twin.free[2]), action=pb.TASK_ACTION_CANCELED),
    lambda twin: pb.ApplyTaskActionParam(compute_task_key="no key", action=pb.TASK_ACTION_DONE),
    lambda twin: made(twin.doing[2]),
    lambda twin: made(twin.doing[2]),
    lambda twin: made(twin.doing[3], key=twin.taken.models[0].key),
    lambda twin: made(twin.doing[3], compute_task_output_identifier="nothing"),
    lambda twin: made(twin.doing[3], address=messages.address(storage_address="a\0b")),
    lambda twin: made(twin.doing[2], twin.doing[3]),
    lambda twin: made(twin.claimed[0]),
    lambda twin: made(twin.ended[0]),
    lambda twin: made(),
]


def older_shown(answer: Any) -> object:
    if isinstance(answer, pb.RegisterModelsResponse):
        return [(model.owner, model.compute_task_key == "", model.address) for model in answer.models]
    return shown(None, answer)


@FEW
@given(st.lists(st.integers(0, len(OLDER) - 1), min_size=1, max_size=10, unique=True))
def test_older_calls_together_are_what_they_are_by_themselves(network, stranger, chosen: list[int]):
    several, single = Older(network, stranger), Older(network, stranger)
    both = [[OLDER[number](twin) for number in chosen] for twin in (several, single)]
    for found, wanted in beside(network, *both):
        assert older_shown(found) == older_shown(wanted)
    assert several.left() == single.left()


def test_what_is_made_together_bears_the_time_of_its_event(network: Member):
    older, claimed = network.register(4), network.register(3)
    for task in older:
        network.start(task)
    attempts = [network.claim(task).attempt for task in claimed]
    completions = [
        pb.CompleteTaskParam(attempt=each, models=[messages.new_model(each.compute_task_key)]) for each in attempts
    ]
    assert try_together(network, *map(made, older[:3]), end(older[3]), *completions) == [True] * 7
    told = network.rows("SELECT created_at, asset FROM events WHERE asset_kind = :kind", kind=pb.ASSET_MODEL)
    assert [pb.Model.FromString(row.asset).creation_date.ToDatetime(UTC) for row in told] == [
        row.created_at for row in told
    ]
    assert len(told) == 6


@FEW
@given(st.lists(st.integers(0, len(CLAIMS) - 1), min_size=1, max_size=8))
def test_claims_together_are_what_they_are_by_themselves(network, stranger, chosen: list[int]):
    several, single = Twin(network, stranger), Twin(network, stranger)
    # Of one task the first goes first, whichever it is.
    held: dict[str, pb.Attempt] = {}
    both = [[CLAIMS[number](twin) for number in chosen] for twin in (several, single)]
    for found, wanted in beside(network, *both):
        assert shown(network, found) == shown(network, wanted)
        if hasattr(found, "attempt"):
            held[found.attempt.compute_task_key] = found.attempt
    assert several.left() == single.left()
    assert not network.heartbeat(*held.values()).stops


NOTHING = UUID(int=5)


def agreed(member: Member, claim: pb.ClaimTaskParam, which: int) -> pb.ClaimAgreedParam:
    """A claim with what is agreed to: nothing; what is asked; another function; other owners; much, and that too."""
    function, owner = member.function.key, member.organization
    known = [[], [(function, owner)], [(str(NOTHING), owner)], [(function, "org-9"), (function.upper(), "")]]
    known.append([*known[2], *known[3], (function.upper(), owner)])
    given = [pb.Agreed(function_key=each, plan_owner=its) for each, its in known[which]]
    return pb.ClaimAgreedParam(claim=claim, agreed=given)


@FEW
@given(st.lists(st.tuples(st.integers(0, len(CLAIMS) - 1), st.integers(0, 4)), min_size=1, max_size=8))
def test_agreed_claims_together_are_what_they_are_by_themselves(network, stranger, chosen: list[tuple[int, int]]):
    """Whatever the calls beside it have agreed to, each claims by what it has itself."""
    several, single = Twin(network, stranger), Twin(network, stranger)
    both = [[agreed(network, CLAIMS[number](twin), which) for number, which in chosen] for twin in (several, single)]
    for found, wanted in beside(network, *both):
        if isinstance(found, pb.ClaimAgreedResponse) and isinstance(wanted, pb.ClaimAgreedResponse):
            assert found.WhichOneof("answer") == wanted.WhichOneof("answer")
            assert found.asked.function == wanted.asked.function
            found, wanted = found.claimed, wanted.claimed
        assert shown(network, found) == shown(network, wanted)
    assert several.left() == single.left()


def test_of_claims_together_each_claims_what_it_has_agreed_to_itself(network: Member):
    tasks = network.register(6)
    claims_ = [pb.ClaimTaskParam(compute_task_key=str(task), claim_id=messages.new_key()) for task in tasks]
    asked = [agreed(network, claim, which) for claim, which in zip(claims_, (1, 0, 2, 3, 4), strict=False)]
    with committing() as commits:
        assert try_together(network, *asked, claims_[5]) == [True, False, False, False, True, True]
    assert (len(commits), network.words(tasks)) == (1, ["Doing", "To do", "To do", "To do", "Doing", "Doing"])


@FEW
@given(st.lists(st.integers(0, len(COMPLETIONS) - 1), min_size=1, max_size=6, unique=True))
def test_completions_together_are_what_they_are_by_themselves(network, stranger, chosen: list[int]):
    several, single = Twin(network, stranger), Twin(network, stranger)
    both = [[COMPLETIONS[number](twin) for number in chosen] for twin in (several, single)]
    for found, wanted in beside(network, *both):
        assert shown(network, found) == shown(network, wanted)
    assert several.left() == single.left()


def test_the_calls_of_a_life_are_those_that_go_together():
    found = {
        name: method.together
        for methods in METHODS.values()
        for name, method in methods.items()
        if getattr(method, "together", None)
    }
    assert found == {
        "ApplyTaskAction": task_actions.apply_together,
        "RegisterModels": models.register_together,
        "ClaimTask": batches.claim_together,
        "ClaimAgreed": agreements.claim_together,
        "CompleteTask": batches.complete_together,
    }


@pytest.fixture
def elsewhere(database: Database) -> Member:
    """Another organization in another channel."""
    return Member(database, "org-3", "elsewhere")


def test_organizations_and_channels_share_a_transaction_and_nothing_else(network, stranger, elsewhere, database):
    members = (network, stranger, elsewhere)
    tasks = [member.register(1, worker=member.organization)[0] for member in members]
    # Each may start its own, where it is.
    for member, others in ((network, tasks[1:]), (stranger, [tasks[0], tasks[2]]), (elsewhere, tasks[:2])):
        assert try_together(member, *map(start, others)) == [False, False]
    for make in (start, made, end):
        with committing() as commits:
            done = together.run(database.run, [call(*each) for each in zip(members, map(make, tasks), strict=True)])
        assert (sorted(done), len(commits)) == ([0, 1, 2], 1)
    assert [member.word(task) for member, task in zip(members, tasks, strict=True)] == ["Done"] * 3
    query = "SELECT DISTINCT channel, asset_key FROM events WHERE asset_kind = :kind"
    told = network.rows(query, kind=pb.ASSET_COMPUTE_TASK)
    channels = {str(task): member.channel for member, task in zip(members, tasks, strict=True)}
    assert {row.asset_key: row.channel for row in told} == channels
    owners = network.rows("SELECT task_key, channel, owner FROM models")
    assert {row.task_key: (row.channel, row.owner) for row in owners} == {
        task: (member.channel, member.organization) for member, task in zip(members, tasks, strict=True)
    }


def test_what_goes_through_is_a_commit_and_a_statement_or_two_for_all(network: Member):
    tasks, claimed = network.register(10), network.register(10)
    child = network.below(*tasks, *claimed)
    network.run(network.register()[0])
    asked = [pb.ClaimTaskParam(compute_task_key=str(task), claim_id=messages.new_key()) for task in claimed]
    for requests, statements in (
        # Each with the beginning of the transaction, and the NOTIFY of a process without pumps.
        ([start(task) for task in tasks], 3),
        ([made(task) for task in tasks], 3),
        ([end(task) for task in tasks], 3),
        (asked, 4),
    ):
        with counting() as sent, committing() as commits:
            done = together.run(network.database.run, [call(network, request) for request in requests])
        assert (len(done), len(sent), len(commits)) == (10, statements, 1), sent
    completed = [
        pb.CompleteTaskParam(attempt=each.response.attempt, models=[messages.new_model(str(task))])
        for task, each in zip(claimed, done.values(), strict=True)
    ]
    with counting() as sent, committing() as commits:
        assert try_together(network, *completed) == [True] * 10
    assert (len(sent), len(commits)) == (3, 1)
    assert network.words([*tasks, *claimed]) == ["Done"] * 20
    assert network.word(child) == "To do"
    assert [poke.key for poke in network.send() if poke.key == child] == [child]


def test_each_is_told_before_the_commit_and_waits_and_traces_are_each_its_own(network: Member):
    tasks = network.register(3)
    children = [network.below(task) for task in tasks]
    network.send()
    told: list[tuple[int, str]] = []

    def begin(number: int, transaction: Transaction) -> None:
        transaction.traceparent = f"trace-{number}"
        transaction.before_commit = lambda: told.append((number, network.word(tasks[number])))

    def do(requests: Sequence[Any]) -> Sequence[Done]:
        calls = [call(network, request, partial(begin, number)) for number, request in enumerate(requests)]
        return list(together.run(network.database.run, calls).values())

    assert [len(each.waits) for each in do([start(task) for task in tasks])] == [1, 1, 1]
    assert told == [(0, "To do"), (1, "To do"), (2, "To do")]
    traced = network.rows("SELECT key, traceparent FROM outbox WHERE message = 'task.run' AND traceparent IS NOT NULL")
    assert {row.key: row.traceparent for row in traced} == {
        task: f"trace-{number}" for number, task in enumerate(tasks)
    }
    do([end(task) for task in tasks])
    pokes = {poke.key: poke.traceparent for poke in network.send()}
    assert pokes == {child: f"trace-{number}" for number, child in enumerate(children)}


@contextmanager
def held(database: Database, lock: str, *keys: object) -> Iterator[None]:
    """Have another session hold something as long as the block lasts."""
    with psycopg.connect(database.url) as connection:
        connection.execute(lock, keys)
        yield
        connection.rollback()


LOCK_TASK = "SELECT FROM task_states WHERE key = %s FOR NO KEY UPDATE"
LOCK_ATTEMPT = "SELECT FROM attempts WHERE task_key = %s FOR NO KEY UPDATE"


def test_a_latch_that_another_holds_leaves_its_plan_and_no_other(network: Member, database: Database):
    plan = network.new_plan()
    (there,), (here,) = network.register(1, plan=plan), network.register(1)
    assert try_together(network, start(there), start(here)) == [True, True]
    with held(database, LATCH, plan.key):
        assert try_together(network, end(there), end(here)) == [False, True]
        assert network.words([there, here]) == ["Doing", "Done"]
    assert try_together(network, end(there)) == [True]


@pytest.mark.parametrize("lock", [LOCK_TASK, LOCK_ATTEMPT])
def test_what_another_holds_of_a_task_leaves_that_task_alone(network: Member, database: Database, lock: str):
    first, second = network.register(2)
    if lock == LOCK_TASK:
        with held(database, lock, first):
            assert try_together(network, start(first), start(second)) == [False, True]
            assert network.words([first, second]) == ["To do", "Doing"]
        assert try_together(network, start(first)) == [True]
        with held(database, lock, first):
            assert try_together(network, made(first), made(second)) == [False, True]
    else:
        assert try_together(network, start(first), start(second)) == [True, True]
    with held(database, lock, first):
        assert try_together(network, end(first), end(second)) == [False, True]
        assert network.words([first, second]) == ["Doing", "Done"]
    assert try_together(network, end(first)) == [True]


def test_a_child_that_another_holds_leaves_its_parents_alone(network: Member, database: Database):
    parents, other = network.register(2), network.register(1)
    child, free = network.below(*parents), network.below(*other)
    assert try_together(network, *map(start, [*parents, *other])) == [True] * 3
    with held(database, LOCK_TASK, child):
        assert try_together(network, *map(end, [*parents, *other])) == [False, False, True]
    assert network.words([*parents, *other, child, free]) == ["Doing", "Doing", "Done", "Waiting", "To do"]
    assert try_together(network, *map(end, parents)) == [True, True]
    assert network.word(child) == "To do"


def test_a_task_with_very_many_children_ends_by_itself(network: Member):
    many, few = network.register(2)
    network.register(101, [str(many)])
    network.register(100, [str(few)])
    assert try_together(network, start(many), start(few)) == [True, True]
    assert try_together(network, end(many), end(few)) == [False, True]
    assert isinstance(alone(network, task_actions.apply, end(many)), pb.ApplyTaskActionResponse)


def test_a_key_that_another_is_about_to_take_is_not_waited_for(network: Member, database: Database):
    first, second = network.register(2)
    assert try_together(network, start(first), start(second)) == [True, True]
    taken = messages.new_key()
    take = """
        INSERT INTO models (key, channel, owner, created_at, message, task_key, output, transient)
        SELECT %s, 'other', 'org-9', now(), '', %s, 'model', false
    """
    with held(database, take, taken, UUID(int=9)):
        assert try_together(network, made(first, key=taken), made(second)) == [False, False]
    assert try_together(network, made(first, key=taken), made(second)) == [True, True]


def test_a_plan_that_grows_under_a_done_is_left_to_a_longer_way(network: Member):
    (parent,) = network.register(1)
    network.start(parent)
    for _ in range(5):
        plan = network.new_plan()
        tasks = network.register(6, plan=plan)
        assert try_together(network, *map(start, tasks)) == [True] * 6
        at_once(
            partial(answers, network, [end(task) for task in tasks]),
            *[partial(network.below, task, plan=plan) for task in tasks],
        )
        children = network.rows(
            "SELECT pending_parents, status FROM task_states WHERE plan_key = :plan AND key <> ALL(:tasks)",
            plan=plan.key,
            tasks=tasks,
        )
        assert [(row.pending_parents, row.status) for row in children] == [(0, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT)] * 6


def test_a_cancellation_that_meets_calls_together_leaves_each_task_in_one_end(network: Member, database: Database):
    for _ in range(5):
        plan = network.new_plan()
        tasks = network.register(8, plan=plan)
        ended = tasks[:4]
        assert try_together(network, *map(start, ended)) == [True] * 4
        requests = [*map(end, ended), *map(start, tasks[4:])]
        reversed_ = [*map(start, tasks[:3:-1]), *map(end, ended[::-1])]
        found, again, _ = at_once(
            partial(answers, network, requests),
            partial(answers, network, reversed_),
            partial(network.call, plans.apply_action, cancellation(plan)),
        )
        accepted = [each for each in (*found.values(), *again.values()) if isinstance(each, pb.ApplyTaskActionResponse)]
        words = network.words(tasks)
        assert set(words[:4]) <= {"Done", "Cancelled"}
        assert set(words[4:]) == {"Cancelled"}
        begun = [task for task in tasks[4:] if "Doing" in [word for word, _ in network.history(task)]]
        assert len(accepted) == words.count("Done") + len(begun)
        for task in tasks:
            assert sum(word in ("Done", "Cancelled") for word, _ in network.history(task)) == 1
    assert deadlocks(database) == 0


def cancellation(plan: pb.ComputePlan) -> pb.ApplyPlanActionParam:
    return pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED)
