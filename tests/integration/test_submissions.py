"""Whole compute plans: registered at once or not at all, and the same again is answered as the first was."""

import random
from typing import Any
from uuid import UUID

import pytest

from orchestrator import protos as pb
from orchestrator.compute import submissions, task_registration
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine.transaction import Database
from tests.kit.database import deadlocks
from tests.kit.member import Member, at_once, refused
from tests.kit.messages import by_key, new_key, new_plan, new_task, output, shared_with, tasks

TABLES = ("compute_plans", "plans", "tasks", "task_states", "edges", "events", "outbox", "submissions", "model_uses")
LARGE = 5000


def parts(plan: pb.NewComputePlan, new: list[pb.NewComputeTask], size: int = 1000) -> list[pb.SubmitPlanParam]:
    """A plan as the SDK sends it."""
    sent = [pb.SubmitPlanParam(tasks=new[at : at + size]) for at in range(0, max(len(new), 1), size)]
    sent[0].head.plan.CopyFrom(plan)
    sent[0].head.tasks = len(new)
    return sent


def chain(network: Member, plan: pb.NewComputePlan, count: int) -> list[pb.NewComputeTask]:
    new = [new_task(network.function, plan)]
    while len(new) < count:
        new.append(new_task(network.function, plan, new[-1:]))
    return new


def submit(network: Member, plan: pb.NewComputePlan, new: list[pb.NewComputeTask], size: int = 1000) -> pb.Submission:
    return network.call(submissions.submit, parts(plan, new, size))


def stored(network: Member) -> list[int]:
    return [network.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def copies(new: list[pb.NewComputeTask]) -> list[pb.NewComputeTask]:
    return [pb.NewComputeTask.FromString(task.SerializeToString()) for task in new]


def test_a_plan_of_five_thousand_tasks_in_any_order_is_kept_whole_and_once(network: Member):
    plan = new_plan(metadata={"a": "b"})
    new = chain(network, plan, LARGE)
    shuffled = random.Random(1).sample(new, LARGE)
    answer = submit(network, plan, shuffled, 700)
    assert (answer.plan.key, answer.plan.owner, dict(answer.plan.metadata), answer.tasks) == (
        plan.key,
        "org-1",
        {"a": "b"},
        LARGE,
    )
    kept = network.rows("SELECT key, rank FROM tasks WHERE plan_key = :plan ORDER BY rank", plan=UUID(plan.key))
    assert [(str(key), rank) for key, rank in kept] == [(task.key, rank) for rank, task in enumerate(new)]
    before = stored(network)
    assert submit(network, plan, new) == answer
    assert stored(network) == before


def test_keys_in_capitals_and_without_their_plan_are_the_same_content(network: Member):
    plan = new_plan()
    new = chain(network, plan, 3)
    answer = submit(network, plan, new)
    again = copies(new)
    for task in again:
        task.key, task.compute_plan_key = task.key.upper(), ""
        for given in task.inputs:
            given.parent_task_output.parent_task_key = given.parent_task_output.parent_task_key.upper()
    plan.key = plan.key.upper()
    assert submit(network, plan, again) == answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metadata": {"seed": "2"}}, "differs in its metadata"),
        ({"inputs": []}, "differs in its inputs"),
        ({"worker": "org-2"}, "differs in its worker"),
        ({"outputs": {"model": output(transient=True)}}, "differs in its outputs"),
        ({"outputs": {"model": output(shared_with("nobody"))}}, "differs in its outputs"),
        ({"key": "another"}, "is not in it"),
    ],
)
def test_another_content_under_the_key_names_the_first_task_that_differs(
    network: Member, stranger: Member, change: dict[str, Any], words: str
):
    plan = new_plan()
    new = chain(network, plan, 6)
    submit(network, plan, new)
    changed = copies(new)
    for number in (2, 4):
        fields = {"inputs": changed[number].inputs, "key": changed[number].key, **change}
        if fields["key"] == "another":
            fields["key"] = new_key()
        changed[number] = new_task(network.function, plan, **fields)
    before = stored(network)
    with refused("OE0006", f"another content: task {changed[2].key} {words}"):
        submit(network, plan, changed)
    with refused("OE0006", f"task {new[5].key} of it was not sent"):
        submit(network, plan, new[:5])
    with refused("OE0006", "its name differs"):
        submit(network, new_plan(key=plan.key, name="another"), new)
    assert stored(network) == before
    assert stranger.organization == "org-2"


def test_what_came_by_the_calls_of_the_contract_is_the_same_content(network: Member):
    """A client that fell back to them may be told that its plan is there."""
    plan = new_plan()
    new = chain(network, plan, 4)
    registered = network.new_plan(key=plan.key)
    with refused("OE0006", f"task {new[0].key} is not in it"):
        submit(network, plan, new)
    network.call(task_registration.register, [tasks(*copies(new))])
    before = stored(network)
    assert submit(network, plan, new).plan == registered
    assert stored(network) == before


def test_a_plan_that_was_extended_is_still_the_one_that_was_submitted(network: Member):
    plan = new_plan()
    new = chain(network, plan, 2)
    answer = submit(network, plan, new)
    network.register(3, plan=answer.plan)
    assert submit(network, plan, new) == answer


def test_the_plan_of_another_is_not_compared(network: Member, stranger: Member):
    plan = new_plan()
    new = chain(network, plan, 2)
    submit(network, plan, new)
    with refused("OE0006", "exists already, and belongs to org-1"):
        submit(stranger, plan, new)
    elsewhere = Member(network.database, "org-1", "another channel")
    with refused("OE0006", "exists already"):
        submit(elsewhere, plan, [new_task(elsewhere.function, plan)])


def unknown_parent(new: list[pb.NewComputeTask]) -> None:
    new[-1].inputs[0].parent_task_output.parent_task_key = new_key()


def cycle(new: list[pb.NewComputeTask]) -> None:
    new[0].inputs.append(new[-1].inputs[0])
    new[0].inputs[0].parent_task_output.parent_task_key = new[-1].key


def duplicate(new: list[pb.NewComputeTask]) -> None:
    new[-1].key = new[0].key


def another_plan(new: list[pb.NewComputeTask]) -> None:
    new[-1].compute_plan_key = new_key()


def no_key(new: list[pb.NewComputeTask]) -> None:
    new[-1].key = "first"


def unknown_model(new: list[pb.NewComputeTask]) -> None:
    new[-1].inputs.append(by_key("models", new_key()))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (unknown_parent, "OE0101"),
        (cycle, "OE0101"),
        (duplicate, "OE0006"),
        (another_plan, "OE0003"),
        (no_key, "OE0101"),
        (unknown_model, "OE0002"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_plan_that_is_refused_leaves_nothing(network: Member, spoil: Any, code: str):
    plan = new_plan()
    new = chain(network, plan, 2500)
    spoil(new)
    before = stored(network)
    with refused(code):
        submit(network, plan, new)
    assert stored(network) == before
    assert submit(network, plan, chain(network, plan, 3)).tasks == 3


def test_parts_that_are_no_whole_plan_are_refused(network: Member):
    plan = new_plan()
    sent = parts(plan, chain(network, plan, 4), 2)
    before = stored(network)
    for broken, words in (
        (sent[:1], "4 tasks were announced, and 2 came"),
        (sent[1:], "the first part, and no other, says"),
        ([*sent, sent[0]], "the first part, and no other, says"),
        ([], "none came"),
        (parts(new_plan(key="no key"), []), "is not a UUID"),
        (parts(new_plan(name=""), []), "name"),
        (parts(new_plan(metadata={"orchestrator.time_limit": "soon"}), []), "time_limit"),
    ):
        with pytest.raises(OrchestratorError, match=words):
            network.call(submissions.submit, broken)
    assert stored(network) == before


def test_the_same_plan_at_once_is_kept_once(network: Member):
    plan = new_plan()
    new = chain(network, plan, 300)
    answers = at_once(*[lambda: submit(network, plan, new)] * 4)
    assert answers == [answers[0]] * 4
    assert len(network.rows("SELECT FROM tasks WHERE plan_key = :plan", plan=UUID(plan.key))) == 300
    assert deadlocks(network.database) == 0


def test_two_contents_at_once_are_one_plan_and_one_conflict(network: Member):
    plan = new_plan()
    contents = [chain(network, plan, 50) for _ in range(2)]

    def outcome(new: list[pb.NewComputeTask]) -> str:
        try:
            submit(network, plan, new)
        except OrchestratorError as error:
            return str(error)
        return ""

    told = at_once(*(lambda new=new: outcome(new) for new in contents))
    (refusal,) = filter(None, told)
    assert "with another content: task" in refusal
    assert len(network.rows("SELECT FROM tasks WHERE plan_key = :plan", plan=UUID(plan.key))) == 50


def test_an_empty_plan_may_be_submitted(network: Member, database: Database):
    plan = new_plan()
    assert submit(network, plan, []).tasks == 0
    assert submit(network, plan, []).plan.key == plan.key
