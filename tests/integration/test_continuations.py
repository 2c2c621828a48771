"""Retry and rerun: what is Done is reused, the rest runs in a new plan, and an ended plan stays as it ended."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.compute import (
    continuations,
    data_managers,
    data_samples,
    functions,
    plans,
    reruns,
    submissions,
    task_actions,
    task_registration,
    tasks,
)
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine.transaction import Database
from tests.kit import messages
from tests.kit.database import deadlocks
from tests.kit.member import Member, at_once, refused

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


@pytest.fixture
def story(network: Member) -> Story:
    return Story(network)


def test_what_failed_and_what_hangs_below_is_registered_again(story: Story):
    network = story.broken().network
    continued = story.retry()
    before = story.words()
    right, top = str(story.right), str(story.top)
    assert places(continued) == {
        str(story.root): "",
        str(story.left): "",
        right: str(uuid5(UUID(continued.plan.key), right)),
        top: str(uuid5(UUID(continued.plan.key), top)),
    }
    plan = continued.plan
    assert (plan.name, plan.tag, dict(plan.metadata)) == (story.plan.name, story.plan.tag, {"a": "b"})
    assert (continued.origin_key, continued.kind) == (story.plan.key, RETRY)
    again, above = (story.task(places(continued)[key]) for key in (right, top))
    assert given(again) == [story.model(story.root)]
    assert given(above) == [story.model(story.left), again.key]
    assert [TASK_WORDS[task.status] for task in (again, above)] == ["To do", "Waiting"]
    assert (again.outputs, again.worker) == (story.task(right).outputs, "org-1")
    for task in (again, above):
        network.run(UUID(task.key))
    assert set(story.words(plan).values()) == {"Done"}
    assert list(stored.check(network.database, network.channel, timedelta(days=1))) == []
    # The first ended as it ended.
    assert story.words() == before
    assert before == {str(story.root): "Done", str(story.left): "Done", right: "Failed", top: "Cancelled"}


def test_the_plans_are_linked_both_ways(story: Story):
    story.broken()
    first, second = story.retry(), story.retry(name="again")
    assert second.plan.name == "again"
    links = story.links()
    assert not links.HasField("continues")
    assert [(link.compute_plan_key, link.kind) for link in links.continued_by] == [
        (first.plan.key, RETRY),
        (second.plan.key, RETRY),
    ]
    back = story.links(first.plan)
    assert back.continues == first
    assert not back.continued_by
    assert not story.links(story.network.new_plan()).HasField("continues")
    with refused("OE0002"):
        story.links(messages.new_key())


def test_a_retry_is_made_once_by_the_key_of_the_new_plan(story: Story):
    story.broken()
    key = messages.new_key()
    answers = at_once(*[lambda: story.retry(key=key)] * 3, lambda: story.retry(key=key.upper()))
    assert answers == [answers[0]] * 4
    assert len(story.words(key)) == 2
    assert len(story.links().continued_by) == 1
    with refused("OE0006", "came otherwise than it is asked for now"):
        story.retry(key=key, name="another name")
    with refused("OE0006", "came otherwise"):
        story.rerun(key=key)
    with refused("OE0006", "came otherwise"):
        story.retry(key=story.plan.key)
    assert deadlocks(story.network.database) == 0


def test_a_plan_that_runs_or_is_done_is_not_tried_again(story: Story):
    network = story.network
    with refused("OE0003", "4 of its tasks have not ended: wait for its end, or cancel it first"):
        story.retry()
    network.run(story.root)
    with refused("OE0003", "3 of its tasks have not ended"):
        story.retry()
    for task in (story.left, story.right, story.top):
        network.run(task)
    with refused("OE0003", "4 tasks, all Done: there is nothing to run again"):
        story.retry()
    with refused("OE0003", "all Done, and nothing of it has changed"):
        story.rerun()
    with refused("OE0003", "0 tasks"):
        story.retry(network.new_plan())
    with refused("OE0002"):
        story.retry(messages.new_key())
    with refused("OE0101"):
        story.retry("no key")
    assert not story.links().continued_by


def test_a_cancelled_plan_is_gone_on_with(story: Story):
    network = story.network
    network.run(story.root)
    network.cancel(story.plan)
    continued = story.retry()
    assert [key for key, place in places(continued).items() if not place] == [str(story.root)]
    assert len(story.words(continued.plan)) == 3


def test_another_organization_may_not(story: Story, stranger: Member):
    story.broken()
    asked = pb.RetryPlanParam(compute_plan_key=story.plan.key, key=messages.new_key())
    with refused("OE0102", "belongs to org-1"):
        stranger.call(continuations.retry, asked)
    elsewhere = Member(story.network.database, "org-1", "another channel")
    with refused("OE0002"):
        elsewhere.call(continuations.retry, asked)
    with refused("OE0002"):
        elsewhere.call(continuations.get, pb.GetContinuationsParam(compute_plan_key=story.plan.key))


def test_what_still_runs_is_waited_for(story: Story):
    network = story.network
    network.run(story.root)
    attempt = network.claim(story.left).attempt
    story.fail(story.right)
    continued = story.retry()
    top = UUID(places(continued)[str(story.top)])
    assert places(continued)[str(story.left)] == ""
    assert given(story.task(top))[0] == str(story.left)
    network.run(UUID(places(continued)[str(story.right)]))
    assert network.word(top) == "Waiting"
    network.complete(attempt, messages.new_model(str(story.left)))
    assert network.word(top) == "To do"
    assert network.word(story.top) == "Cancelled"


def test_an_output_that_is_gone_is_made_again_where_it_is_needed(network: Member):
    story = Story(network, **TRANSIENT).broken()
    other = story.add(story.root)
    network.end(other, pb.TASK_ACTION_CANCELED)
    network.end(story.top, pb.TASK_ACTION_CANCELED)
    story.disable(story.root)
    continued = story.retry()
    found = places(continued)
    root = found[str(story.root)]
    assert root
    assert found[str(story.left)] == ""
    assert given(story.task(found[str(story.right)])) == [root]
    assert story.task(root).outputs["model"].transient
    # In the plan that follows the same is asked of both: what was made again, and what was reused.
    network.run(UUID(root))
    story.fail(UUID(found[str(story.right)]))
    second = story.retry(continued.plan)
    assert places(second).keys() == {str(story.left), *filter(None, found.values())}
    assert places(second)[str(story.left)] == ""
    assert places(second)[root] == ""
    assert given(story.task(places(second)[found[str(story.right)]])) == [story.model(UUID(root))]


def test_what_is_reused_stays_until_the_new_tasks_have_ended(network: Member):
    story = Story(network, **TRANSIENT).broken()
    continued = story.retry()
    with refused("OE0108", "one that has not ended"):
        story.disable(story.root)
    for task in (story.right, story.top):
        network.run(UUID(places(continued)[str(task)]))
    story.disable(story.root)


def test_a_retry_of_a_retry_makes_again_what_the_first_reused(network: Member):
    story = Story(network, **TRANSIENT).broken()
    continued = story.retry()
    right = UUID(places(continued)[str(story.right)])
    story.fail(right)
    story.retry(continued.plan, key=messages.new_key())
    network.cancel(
        network.call(
            plans.get, pb.GetComputePlanParam(key=story.links(continued.plan).continued_by[0].compute_plan_key)
        )
    )
    story.disable(story.root)
    third = story.retry(continued.plan)
    root = places(third)[str(story.root)]
    assert root
    assert given(story.task(places(third)[str(right)])) == [root]


def replaced(network: Member, **changes: Any) -> pb.Function:
    function = network.call(functions.register, messages.new_function(**changes))
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        network.act(function, action)
    return function


def test_another_function_may_stand_in_the_place_of_one(story: Story):
    mended = replaced(story.network)
    continued = story.broken().retry(replacements={story.network.function.key.upper(): mended.key})
    assert {story.task(task).function_key for task in places(continued).values() if task} == {mended.key}
    with refused("OE0101", "no task that runs again has"):
        story.retry(replacements={mended.key: mended.key})
    with refused("OE0002", "does not exist"):
        story.retry(replacements={story.network.function.key: messages.new_key()})
    with refused("OE0101"):
        story.retry(replacements={"train": mended.key})


def test_a_function_that_was_not_built_must_be_replaced(network: Member):
    broken = network.call(functions.register, messages.new_function(name="train"))
    plan = network.new_plan()
    new = messages.new_task(broken, plan)
    network.call(task_registration.register, messages.tasks(new))
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_FAILED):
        network.act(broken, action)
    asked = pb.RetryPlanParam(compute_plan_key=plan.key, key=messages.new_key())
    with refused("OE0101", rf"function {broken.key} \(train\) was not built, and 1 tasks would run it"):
        network.call(continuations.retry, asked)
    asked.replacements[broken.key] = replaced(network).key
    assert len(network.call(continuations.retry, asked).tasks) == 1


def test_a_rerun_runs_what_has_changed_and_what_is_below(story: Story):
    network = story.network
    for task in (story.root, story.left, story.right, story.top):
        network.run(task)
    other = replaced(network, archive=messages.address("f" * 64))
    right = story.add(story.root, function_key=replaced(network, archive=messages.address("e" * 64)).key)
    network.run(right)
    continued = story.rerun(replacements={story.task(right).function_key: other.key})
    assert (continued.kind, continued.origin_key) == (RERUN, story.plan.key)
    assert [key for key, place in places(continued).items() if place] == [str(right)]
    assert given(story.task(places(continued)[str(right)])) == [story.model(story.root)]
    whole = story.rerun(replacements={network.function.key: other.key})
    assert all(places(whole).values())
    assert given(story.task(places(whole)[str(story.left)])) == [places(whole)[str(story.root)]]
    with refused("OE0003", "nothing of it has changed"):
        story.rerun(replacements={network.function.key: replaced(network).key})


def test_a_rerun_of_what_failed_goes_on_too(story: Story):
    continued = story.broken().rerun()
    assert sorted(filter(None, places(continued).values())) == sorted(story.words(continued.plan))
    assert len(story.words(continued.plan)) == 2


def test_a_parent_of_another_plan_is_reused_or_named(network: Member):
    story = Story(network)
    network.run(story.root)
    far = network.new_plan()
    task = network.below(story.root, plan=far)
    beside = network.below(story.left, plan=far)
    story.fail(task)
    continued = story.retry(far)
    assert given(story.task(places(continued)[str(task)])) == [story.model(story.root)]
    # What has not ended is waited for as before.
    assert given(story.task(places(continued)[str(beside)])) == [str(story.left)]
    story.fail(story.left)
    with refused("OE0101", f"task {story.left} of another compute plan, whose output it needs, is Failed"):
        story.retry(far)


def test_data_may_be_replaced_where_another_organization_has_them(network: Member, stranger: Member):
    def data(member: Member) -> tuple[str, str]:
        manager = member.call(data_managers.register, messages.new_data_manager())
        new = messages.samples(messages.new_data_sample(manager))
        return manager.key, member.call(data_samples.register, new).data_samples[0].key

    mine, theirs = data(network), data(stranger)
    function = replaced(network, inputs=messages.DATA_INPUTS)
    plan = network.new_plan()
    inputs = [messages.by_key("opener", mine[0]), messages.by_key("samples", mine[1])]
    new = messages.new_task(function, plan, inputs=inputs)
    network.call(task_registration.register, messages.tasks(new))
    network.run(UUID(new.key))
    asked = pb.RerunPlanParam(
        compute_plan_key=plan.key, key=messages.new_key(), replacements=dict(zip(mine, theirs, strict=True))
    )
    continued = network.call(reruns.rerun, asked)
    again = network.call(tasks.show, pb.GetTaskParam(key=continued.tasks[0].compute_task_key))
    assert (again.worker, given(again)) == ("org-2", list(theirs))


def test_a_plan_of_thousands_of_tasks_is_gone_on_with(network: Member, database: Database):
    plan = messages.new_plan()
    new = [messages.new_task(network.function, plan)]
    new += [messages.new_task(network.function, plan, new[:1]) for _ in range(4999)]
    part = pb.SubmitPlanParam(head=pb.PlanHead(plan=plan, tasks=len(new)), tasks=new)
    submitted = network.call(submissions.submit, [part]).plan
    root = UUID(new[0].key)
    network.run(root)
    network.cancel(submitted)
    asked = pb.RetryPlanParam(compute_plan_key=plan.key, key=messages.new_key())
    continued = network.call(continuations.retry, asked)
    assert len(list(filter(None, places(continued).values()))) == 4999
    counts = network.rows("SELECT count(*) FROM task_states WHERE plan_key = :plan AND status = 2", plan=asked.key)
    assert counts[0][0] == 4999


def test_a_retry_that_is_refused_keeps_nothing(story: Story):
    network = story.broken().network
    key = messages.new_key()
    taken = str(uuid5(UUID(key), str(story.top)))
    network.register(plan=network.new_plan(), key=taken)
    before = network.rows("SELECT count(*) FROM compute_plans")
    with refused("OE0006", f"task {taken} exists already"):
        story.retry(key=key)
    assert network.rows("SELECT count(*) FROM compute_plans") == before
    assert not story.links().continued_by


def rewritten(story: Story, **changes: dict[str, Any]) -> tuple[pb.NewComputePlan, dict[str, pb.NewComputeTask]]:
    """The plan as its author writes it anew: with other keys, and changes of tasks by their names."""
    plan, new = messages.new_plan(metadata={"a": "b"}), dict[str, pb.NewComputeTask]()
    shape = {"root": (), "left": ("root",), "right": ("root",), "top": ("left", "right")}
    for name, parents in shape.items():
        metadata = {"metadata": {"round": "1"}} if name == "left" else {}
        given_up = [new[parent] for parent in parents]
        new[name] = messages.new_task(story.network.function, plan, given_up, **{**metadata, **changes.get(name, {})})
    return plan, new


def resubmit(story: Story, plan: pb.NewComputePlan, new: dict[str, pb.NewComputeTask]) -> pb.Continuation:
    head = pb.PlanHead(plan=plan, tasks=len(new), rerun_of=story.plan.key)
    part = pb.SubmitRerunParam(head=head, tasks=reversed(new.values()))
    return story.network.call(reruns.submit, [part])


def done(story: Story) -> Story:
    for task in (story.root, story.left, story.right, story.top):
        story.network.run(task)
    return story


def test_a_plan_that_was_written_anew_runs_what_has_changed(story: Story):
    plan, new = rewritten(done(story), right={"metadata": {"seed": "2"}})
    new["more"] = messages.new_task(story.network.function, plan, [new["left"]], metadata={"round": "2"})
    continued = resubmit(story, plan, new)
    assert {(each.origin_task_key, each.compute_task_key, each.reused) for each in continued.tasks} == {
        (str(story.root), new["root"].key, True),
        (str(story.left), new["left"].key, True),
    }
    assert (continued.kind, continued.origin_key, continued.plan.key) == (RERUN, story.plan.key, plan.key)
    assert story.words(plan) == {new["right"].key: "To do", new["more"].key: "To do", new["top"].key: "Waiting"}
    assert given(story.task(new["right"].key)) == [story.model(story.root)]
    assert given(story.task(new["top"].key)) == [story.model(story.left), new["right"].key]
    # The same again, in any order, is the same; what was sent as another plan is not.
    assert resubmit(story, plan, dict(reversed(new.items()))) == continued
    with refused("OE0006", "came otherwise"):
        resubmit(story, plan, {"root": new["root"]})
    assert list(stored.check(story.network.database, story.network.channel, timedelta(days=1))) == []
    # One that continues it knows what it reused.
    story.network.cancel(continued.plan)
    again = story.retry(continued.plan)
    assert [each.origin_task_key for each in again.tasks if each.reused] == sorted([str(story.root), str(story.left)])


def test_a_change_at_the_root_runs_all_and_none_runs_nothing(story: Story):
    done(story)
    plan, new = rewritten(story, root={"metadata": {"seed": "2"}})
    assert not resubmit(story, plan, new).tasks
    assert set(story.words(plan).values()) == {"To do", "Waiting"}
    with refused("OE0003", "all Done, and nothing of it has changed"):
        resubmit(story, *rewritten(story))


def test_what_is_wrong_with_a_plan_that_was_written_anew_is_refused(story: Story, stranger: Member):
    done(story)
    cyclic = {"inputs": [messages.by_parent("models", messages.new_key())]}
    plan, new = rewritten(story, right=cyclic)
    with refused("OE0101", "does not exist"):
        resubmit(story, plan, new)
    new["right"].inputs[0].parent_task_output.parent_task_key = new["top"].key
    with refused("OE0101", "part of a cycle"):
        resubmit(story, plan, new)
    head = pb.PlanHead(plan=messages.new_plan())
    with refused("OE0101", "rerun_of"):
        story.network.call(reruns.submit, [pb.SubmitRerunParam(head=head)])
    plan, new = rewritten(story, root={"metadata": {"seed": "2"}})
    story.network = stranger
    with refused("OE0102", "belongs to org-1"):
        resubmit(story, plan, new)


def test_an_output_that_is_gone_is_made_again_for_what_has_changed(network: Member):
    story = Story(network, **TRANSIENT)
    done(story)
    story.disable(story.root)
    plan, new = rewritten(story, root=TRANSIENT, right={"metadata": {"seed": "2"}})
    continued = resubmit(story, plan, new)
    assert [each.compute_task_key for each in continued.tasks if each.reused] == [new["left"].key]
    assert given(story.task(new["right"].key)) == [new["root"].key]


def test_of_two_tasks_of_one_content_each_is_reused_once(story: Story):
    done(story)
    plan, new = rewritten(story)
    new["twin"] = messages.new_task(story.network.function, plan)
    continued = resubmit(story, plan, new)
    (ran,) = story.words(plan)
    assert ran in (new["root"].key, new["twin"].key)
    assert len(continued.tasks) == 4
