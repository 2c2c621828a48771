"""Rerun: what is Done and of the same content is reused, whatever became of the first plan."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.compute import (
    data_managers,
    data_samples,
    reruns,
    task_registration,
    tasks,
)
from tests.integration.stories import RERUN, TRANSIENT, Story, given, places, replaced
from tests.kit import messages
from tests.kit.member import Member, refused


@pytest.fixture
def story(network: Member) -> Story:
    return Story(network)


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
    network.call(task_registration.register, [messages.tasks(new)])
    network.run(UUID(new.key))
    asked = pb.RerunPlanParam(
        compute_plan_key=plan.key, key=messages.new_key(), replacements=dict(zip(mine, theirs, strict=True))
    )
    continued = network.call(reruns.rerun, asked)
    again = network.call(tasks.show, pb.GetTaskParam(key=continued.tasks[0].compute_task_key))
    assert (again.worker, given(again)) == ("org-2", list(theirs))


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
    with refused("OE0006", "not by the same"):
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
