"""Retry and rerun: what is Done is reused, the rest runs in a new plan, and an ended plan stays as it ended."""

from datetime import timedelta
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
    submissions,
    task_registration,
    tasks,
)
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine.transaction import Database
from tests.integration.stories import RETRY, TRANSIENT, Story, given, places, replaced
from tests.kit import messages
from tests.kit.database import deadlocks
from tests.kit.member import Member, at_once, refused
from tests.kit.messages import shared_with


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
    with refused("OE0006", "and not by the same retry or rerun"):
        story.retry(key=key, name="another name")
    with refused("OE0006", "not by the same"):
        story.rerun(key=key)
    with refused("OE0006", "not by the same"):
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
    network.call(task_registration.register, [messages.tasks(new)])
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_FAILED):
        network.act(broken, action)
    asked = pb.RetryPlanParam(compute_plan_key=plan.key, key=messages.new_key())
    with refused("OE0101", rf"function {broken.key} \(train\) was not built, and 1 tasks would run it"):
        network.call(continuations.retry, asked)
    asked.replacements[broken.key] = replaced(network).key
    assert len(network.call(continuations.retry, asked).tasks) == 1


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


def test_an_output_that_is_gone_in_another_plan_is_named(network: Member):
    story = Story(network, **TRANSIENT)
    network.run(story.root)
    far = network.new_plan()
    task = network.below(story.root, plan=far)
    story.fail(task)
    network.cancel(story.plan)
    story.disable(story.root)
    with refused("OE0101", f"task {task}: output 'model' of task {story.root}, which it needs, is gone"):
        story.retry(far)
    assert len(places(story.retry())) == 4


def test_all_models_of_a_multiple_output_are_given_in_their_order(network: Member):
    function = replaced(network, outputs={"model": messages.MODELS})
    story = Story(network, function_key=function.key)
    attempt = network.claim(story.root).attempt
    made = [messages.new_model(str(story.root)) for _ in range(3)]
    network.complete(attempt, *made)
    story.fail(story.right)
    continued = story.retry()
    assert given(story.task(places(continued)[str(story.right)])) == [model.key for model in made]
    # As an output of one that runs again it is one input.
    network.cancel(continued.plan)
    whole = story.rerun(
        replacements={
            function.key: replaced(network, archive=messages.address("f" * 64), outputs={"model": messages.MODELS}).key
        }
    )
    assert given(story.task(places(whole)[str(story.right)])) == [places(whole)[str(story.root)]]
    again = story.retry(continued.plan)
    assert given(story.task(places(again)[places(continued)[str(story.right)]])) == [model.key for model in made]


def test_a_function_that_fails_meanwhile_and_a_retry_wait_for_each_other_in_one_order(network: Member):
    for _ in range(5):
        function = network.call(functions.register, messages.new_function())
        network.act(function, pb.FUNCTION_ACTION_BUILDING)
        plan = network.new_plan()
        network.register(3, plan=plan, function_key=function.key)
        network.cancel(plan)
        # One that waits for the function still, as where its cancellation is on the way.
        network.register(1, plan=network.new_plan(), function_key=function.key)
        asked = pb.RetryPlanParam(compute_plan_key=plan.key, key=messages.new_key())

        def retry(asked: pb.RetryPlanParam = asked) -> str:
            try:
                network.call(continuations.retry, asked)
            except OrchestratorError as error:
                return error.code
            return "OK"

        told = at_once(retry, lambda function=function: network.act(function, pb.FUNCTION_ACTION_FAILED))
        assert told[0] in ("OK", "OE0101")
    assert deadlocks(network.database) == 0


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


def test_the_logs_of_what_runs_again_are_for_those_of_the_first(network: Member, stranger: Member):
    """An aggregate's log is for whom its parents' are, also where these are Done and their models given by key."""
    function = replaced(network, inputs={**messages.AGGREGATE_INPUTS, **messages.DATA_INPUTS})
    manager = network.call(data_managers.register, messages.new_data_manager(logs_permission=shared_with("org-2")))
    (sample,) = network.call(data_samples.register, messages.samples(messages.new_data_sample(manager))).data_samples
    plan = network.new_plan()
    inputs = [messages.by_key("opener", manager), messages.by_key("samples", sample)]
    new = messages.new_task(function, plan, inputs=inputs)
    network.call(task_registration.register, [messages.tasks(new)])
    (top,) = network.register(1, [new.key], plan)
    network.run(UUID(new.key))
    network.fail(network.claim(top).attempt, pb.ERROR_TYPE_EXECUTION)
    key = messages.new_key()
    network.call(continuations.retry, pb.RetryPlanParam(compute_plan_key=plan.key, key=key))
    first, again = (
        network.call(tasks.show, pb.GetTaskParam(key=each)) for each in (str(top), str(uuid5(UUID(key), str(top))))
    )
    assert again.logs_permission == first.logs_permission
    assert sorted(again.logs_permission.authorized_ids) == ["org-1", "org-2"]
