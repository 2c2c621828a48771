"""True histories have no violation; each lie is found by the rule that it breaks, and by that alone."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.history import History, check
from orchestrator.core.snapshots import TOLERANCE
from orchestrator.core.violations import Rule, Violation

from .trace import CANCELED, CREATED, DOING, DONE, FAILED, TO_DO, Trace

WAITING = pb.STATUS_WAITING_FOR_PARENT_TASKS
DATABASE_RULES = {Rule.POSITIONS, Rule.ROW_AS_TOLD, Rule.ATTEMPT_ROWS, Rule.POKES, Rule.PENDING_PARENTS}
LIES = {}


def violations(trace: Trace) -> list[Violation]:
    return list(check(trace.events))


def shift(trace: Trace, by: timedelta, *events: pb.Event) -> None:
    for event in events:
        event.timestamp.FromDatetime(event.timestamp.ToDatetime() + by)


def a_plan(trace: Trace) -> tuple[pb.ComputePlan, pb.Function]:
    return trace.plan(), trace.ready()


def test_an_empty_trace_is_true():
    assert violations(Trace()) == []


def test_a_chain_with_a_retry_is_true():
    trace = Trace()
    plan, function = a_plan(trace)
    trace.call()
    first = trace.register(plan, function)
    second = trace.register(plan, function, first, first)
    trace.run(first)
    trace.start(second)
    trace.move(second, TO_DO)
    trace.rename(plan)
    trace.run(second)
    (model, *_) = trace.models.values()
    trace.disable(model)
    assert violations(trace) == []


def test_failures_and_cancellations_are_true():
    trace = Trace()
    plan, function = a_plan(trace)
    tasks = [trace.task(plan, function) for _ in range(3)]
    trace.start(tasks[0])
    trace.stop(tasks[0], FAILED, report=True)
    trace.stop(tasks[1], FAILED)
    trace.task(plan, function, tasks[0])
    trace.run(tasks[2])
    other = trace.plan()
    below = trace.task(other, function, tasks[2])
    trace.start(below)
    trace.task(other, function, below)
    trace.cancel(other)
    trace.rename(other)
    assert violations(trace) == []


def test_a_function_takes_its_tasks_along():
    trace = Trace()
    plan, function = trace.plan(), trace.function()
    first = trace.task(plan, function)
    trace.task(plan, function, first)
    trace.move_function(function, pb.FUNCTION_STATUS_BUILDING)
    trace.task(plan, function)
    trace.move_function(function, pb.FUNCTION_STATUS_READY)
    trace.run(first)
    failing = trace.function(pb.FUNCTION_STATUS_BUILDING)
    trace.task(plan, failing)
    trace.move_function(failing, pb.FUNCTION_STATUS_FAILED, report=True)
    trace.task(plan, failing)
    assert violations(trace) == []


def test_calls_that_waited_for_each_other_may_tell_times_the_other_way_round():
    trace = Trace()
    plan, function = a_plan(trace)
    trace.start(trace.task(plan, function))
    trace.cancel(plan)
    for event in trace.events[-2:]:
        shift(trace, -TOLERANCE / 2, event)
        if event.asset_kind == pb.ASSET_COMPUTE_PLAN:
            event.compute_plan.cancelation_date.CopyFrom(event.timestamp)
    assert violations(trace) == []


@st.composite
def true_traces(draw: st.DrawFn) -> Trace:
    """What a few organizations might do with some plans."""
    trace = Trace()
    a_plan(trace)
    for _ in range(draw(st.integers(1, 40))):
        plan = draw(st.sampled_from(list(trace.plans.values())))
        function = draw(st.sampled_from(list(trace.functions.values())))
        tasks = list(trace.tasks.values())
        by_status = {status: [task for task in tasks if task.status == status] for status in states.TASK_TRANSITIONS}
        live = [task for task in tasks if task.status not in states.TERMINAL]
        loose = [
            model
            for model in trace.models.values()
            if model.HasField("address")
            and (below := trace.children(trace.tasks[model.compute_task_key]))
            and all(child.status in states.TERMINAL for child in below)
            and trace.tasks[model.compute_task_key].status in states.TERMINAL
        ]
        ended = plan.HasField("cancelation_date") or plan.HasField("failure_date")
        choices = ["plan", "function", "rename"]
        choices += ["task"] * 4 * (not plan.HasField("cancelation_date"))
        choices += ["start"] * 4 * bool(by_status[TO_DO])
        choices += ["complete", "complete", "complete", "retry", "fail", "result"] * bool(by_status[DOING])
        choices += ["stop"] * bool(live) + ["disable"] * 3 * bool(loose) + ["cancel"] * (not ended)
        choices += ["build"] * 3 * bool(states.FUNCTION_TRANSITIONS[function.status])
        match draw(st.sampled_from(choices)):
            case "plan":
                trace.plan()
            case "function":
                trace.function()
            case "rename":
                trace.rename(draw(st.sampled_from([plan, function])))
            case "task":
                trace.call()
                for _ in range(draw(st.integers(1, 3))):
                    known = list(trace.tasks.values())
                    above = draw(st.lists(st.sampled_from(known), max_size=3)) if known else []
                    trace.register(plan, function, *above)
            case "start":
                trace.start(draw(st.sampled_from(by_status[TO_DO])))
            case "complete":
                trace.complete(draw(st.sampled_from(by_status[DOING])), draw(st.integers(0, 2)))
            case "retry":
                trace.move(draw(st.sampled_from(by_status[DOING])), TO_DO)
            case "fail":
                trace.stop(draw(st.sampled_from(by_status[DOING])), FAILED, report=True)
            case "result":
                trace.call()
                trace.result(draw(st.sampled_from(by_status[DOING])))
            case "stop":
                trace.stop(draw(st.sampled_from(live)), draw(st.sampled_from([FAILED, CANCELED])))
            case "disable":
                trace.disable(draw(st.sampled_from(loose)))
            case "cancel":
                trace.cancel(plan)
            case "build":
                status = draw(st.sampled_from(sorted(states.FUNCTION_TRANSITIONS[function.status])))
                trace.move_function(function, status, report=status == pb.FUNCTION_STATUS_FAILED)
    return trace


@given(true_traces())
def test_what_a_true_orchestrator_tells_is_true(trace: Trace):
    assert violations(trace) == []


@given(true_traces(), st.data())
def test_no_event_may_be_told_twice(trace: Trace, data: st.DataObject):
    told = [event for event in trace.events if event.asset_kind == pb.ASSET_COMPUTE_TASK]
    if told:
        again = data.draw(st.sampled_from(told))
        trace.events.insert(trace.events.index(again) + 1, again)
        assert violations(trace)


def lie(rule: Rule):
    """A history with one lie, which breaks this rule."""

    def keep(tell):
        LIES[tell.__name__] = rule, tell
        return tell

    return keep


@lie(Rule.CREATED_ONCE)
def a_task_created_twice(trace: Trace) -> None:
    trace.call()
    trace.tell(trace.task(*a_plan(trace)), CREATED)


@lie(Rule.CREATED_ONCE)
def a_function_registered_again(trace: Trace) -> None:
    function = trace.ready()
    again = pb.Function()
    again.CopyFrom(function)
    again.status = pb.FUNCTION_STATUS_WAITING
    trace.tell(again, CREATED)


@lie(Rule.KNOWN_ASSET)
def a_task_changed_before_it_was_created(trace: Trace) -> None:
    trace.start(trace.task(*a_plan(trace)))
    del trace.events[-2]


@lie(Rule.KNOWN_ASSET)
def a_parent_that_nobody_registered(trace: Trace) -> None:
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    trace.task(plan, function, parent)
    del trace.events[-2]


@lie(Rule.KNOWN_ASSET)
def a_plan_that_nobody_registered(trace: Trace) -> None:
    trace.task(*a_plan(trace))
    del trace.events[0]


@lie(Rule.SAME_ASSET)
def a_snapshot_of_another_task(trace: Trace) -> None:
    plan, function = a_plan(trace)
    other = trace.task(plan, function)
    trace.start(trace.task(plan, function))
    trace.events[-1].asset_key = other.key


@lie(Rule.SAME_ASSET)
def a_snapshot_of_another_kind(trace: Trace) -> None:
    trace.plan()
    trace.events[-1].asset_kind = pb.ASSET_MODEL


@lie(Rule.SAME_ASSET)
def an_event_without_a_snapshot(trace: Trace) -> None:
    trace.plan()
    trace.events[-1].ClearField("compute_plan")


@lie(Rule.DEFINITION)
def another_worker(trace: Trace) -> None:
    trace.start(trace.task(*a_plan(trace)))
    trace.events[-1].compute_task.worker = "org-3"


@lie(Rule.DEFINITION)
def another_owner_of_a_plan(trace: Trace) -> None:
    plan, _ = a_plan(trace)
    plan.owner = "org-3"
    trace.rename(plan)


@lie(Rule.DEFINITION)
def another_input(trace: Trace) -> None:
    plan, function = a_plan(trace)
    first, second = trace.run(trace.task(plan, function)), trace.run(trace.task(plan, function))
    task = trace.task(plan, function, first)
    task.inputs[0].parent_task_output.parent_task_key = second.key
    trace.start(task)


@lie(Rule.FIRST_STATE)
def a_task_that_waits_for_nothing(trace: Trace) -> None:
    trace.task(*a_plan(trace))
    trace.events[-1].compute_task.status = WAITING


@lie(Rule.FIRST_STATE)
def a_task_to_do_before_its_function_is_built(trace: Trace) -> None:
    trace.task(trace.plan(), trace.function())
    trace.events[-1].compute_task.status = TO_DO


@lie(Rule.FIRST_STATE)
def a_task_below_a_failed_one_that_waits(trace: Trace) -> None:
    plan, function = a_plan(trace)
    failed = trace.task(plan, function)
    trace.stop(failed, FAILED)
    trace.task(plan, function, failed)
    trace.events[-1].compute_task.status = WAITING


@lie(Rule.TRANSITION)
def done_without_having_begun(trace: Trace) -> None:
    trace.move(trace.task(*a_plan(trace)), DONE)


@lie(Rule.TRANSITION)
def a_state_that_does_not_exist(trace: Trace) -> None:
    trace.move(trace.task(*a_plan(trace)), 99)


@lie(Rule.END)
def a_cancelled_task_that_begins(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.stop(task, CANCELED)
    trace.start(task)


@lie(Rule.END)
def done_and_then_failed(trace: Trace) -> None:
    trace.move(trace.run(trace.task(*a_plan(trace))), FAILED)


@lie(Rule.END)
def a_failed_plan_cancelled(trace: Trace) -> None:
    plan, function = a_plan(trace)
    trace.stop(trace.task(plan, function), FAILED)
    plan.ClearField("failure_date")
    trace.cancel(plan)


@lie(Rule.ONE_COMPLETION)
def a_second_completion(trace: Trace) -> None:
    trace.move(trace.run(trace.task(*a_plan(trace))), DONE)


@lie(Rule.ONE_ATTEMPT)
def a_second_attempt_beside_the_first(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.start(task)


@lie(Rule.PARENTS_FIRST)
def a_child_to_do_before_its_parent_is_done(trace: Trace) -> None:
    plan, function = a_plan(trace)
    child = trace.task(plan, function, trace.task(plan, function))
    trace.move(child, TO_DO)


@lie(Rule.PARENTS_FIRST)
def a_child_to_do_before_the_last_of_its_parents_is_done(trace: Trace) -> None:
    plan, function = a_plan(trace)
    parents = [trace.task(plan, function) for _ in range(2)]
    child = trace.task(plan, function, *parents)
    trace.run(parents[0])
    trace.move(child, TO_DO)


@lie(Rule.PARENTS_FIRST)
def a_child_registered_to_do(trace: Trace) -> None:
    plan, function = a_plan(trace)
    trace.task(plan, function, trace.task(plan, function))
    trace.events[-1].compute_task.status = TO_DO


@lie(Rule.FUNCTION_FIRST)
def a_task_to_do_before_its_function_is_ready(trace: Trace) -> None:
    task = trace.task(trace.plan(), trace.function(pb.FUNCTION_STATUS_BUILDING))
    trace.move(task, TO_DO)


@lie(Rule.CHILDREN_RELEASED)
def a_child_left_waiting(trace: Trace) -> None:
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    trace.task(plan, function, parent)
    trace.run(parent)
    trace.events.pop()
    trace.plan()


@lie(Rule.CHILDREN_RELEASED)
def a_child_left_waiting_by_the_last_call(trace: Trace) -> None:
    a_child_left_waiting(trace)
    trace.events.pop()


@lie(Rule.CHILDREN_RELEASED)
def a_built_task_that_waits_for_parents_that_are_done(trace: Trace) -> None:
    task = trace.task(trace.plan(), function := trace.function(pb.FUNCTION_STATUS_BUILDING))
    trace.move_function(function, pb.FUNCTION_STATUS_READY)
    assert task.status == TO_DO
    trace.events[-1].compute_task.status = WAITING


@lie(Rule.RESULTS_WHILE_DOING)
def a_model_of_a_task_to_do(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.call()
    trace.result(task)


@lie(Rule.RESULTS_WHILE_DOING)
def a_performance_of_a_task_that_is_done(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.move(task, DONE)
    trace.call()
    trace.score(task)


@lie(Rule.NOTHING_AFTER_CANCELLATION)
def a_model_of_a_cancelled_task(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.stop(task, CANCELED)
    trace.call()
    trace.result(task)


@lie(Rule.NOTHING_AFTER_CANCELLATION)
def a_completion_after_the_plan_was_cancelled(trace: Trace) -> None:
    plan, function = a_plan(trace)
    task = trace.task(plan, function)
    trace.start(task)
    trace.cancel(plan)
    trace.events.pop()
    trace.move(task, DONE)


@lie(Rule.NOTHING_AFTER_CANCELLATION)
def a_result_after_the_plan_was_cancelled(trace: Trace) -> None:
    plan, function = a_plan(trace)
    task = trace.task(plan, function)
    trace.start(task)
    trace.cancel(plan)
    trace.events.pop()
    trace.call()
    trace.result(task)


@lie(Rule.NOTHING_AFTER_CANCELLATION)
def a_report_after_the_plan_was_cancelled(trace: Trace) -> None:
    plan, function = a_plan(trace)
    task = trace.task(plan, function)
    trace.start(task)
    trace.cancel(plan)
    trace.call()
    trace.report(task, pb.FAILED_ASSET_COMPUTE_TASK)


@lie(Rule.NOTHING_AFTER_CANCELLATION)
def a_task_registered_in_a_cancelled_plan(trace: Trace) -> None:
    plan, function = a_plan(trace)
    trace.cancel(plan)
    trace.task(plan, function)


@lie(Rule.PLAN_ENDS_ITS_TASKS)
def a_task_that_outlives_its_plan(trace: Trace) -> None:
    plan, function = a_plan(trace)
    trace.task(plan, function)
    trace.cancel(plan)
    trace.events.pop()


@lie(Rule.REPORT_OF_FAILURE)
def a_report_of_a_task_that_goes_on(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.call()
    trace.report(task, pb.FAILED_ASSET_COMPUTE_TASK)
    trace.complete(task)


@lie(Rule.REPORT_OF_FAILURE)
def a_report_of_a_function_that_goes_on(trace: Trace) -> None:
    function = trace.function(pb.FUNCTION_STATUS_BUILDING)
    trace.call()
    trace.report(function, pb.FAILED_ASSET_FUNCTION)
    trace.move_function(function, pb.FUNCTION_STATUS_READY)


@lie(Rule.PLAN_FAILS)
def a_plan_that_does_not_fail_with_its_task(trace: Trace) -> None:
    trace.stop(trace.task(*a_plan(trace)), FAILED)
    trace.events.pop()
    trace.plan()


@lie(Rule.PLAN_FAILS)
def a_plan_renamed_instead_of_failed(trace: Trace) -> None:
    plan, function = a_plan(trace)
    trace.stop(trace.task(plan, function), FAILED)
    trace.events.pop()
    plan.ClearField("failure_date")
    trace.rename(plan)


@lie(Rule.MODEL_OWNER)
def a_model_of_another_organization(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.call()
    trace.result(task, owner="org-1")


@lie(Rule.OUTPUT_TOLD)
def a_model_of_no_output(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.call()
    trace.result(task, told=False)


@lie(Rule.OUTPUT_TOLD)
def an_output_without_its_model(trace: Trace) -> None:
    task = trace.task(*a_plan(trace))
    trace.start(task)
    trace.call()
    trace.result(task)
    del trace.events[-2]


@lie(Rule.DISABLED_LAST)
def a_model_disabled_before_the_child_has_ended(trace: Trace) -> None:
    plan, function = a_plan(trace)
    parent = trace.run(trace.task(plan, function))
    trace.start(trace.task(plan, function, parent))
    trace.disable(next(iter(trace.models.values())))


@lie(Rule.DISABLED_LAST)
def a_last_model_disabled(trace: Trace) -> None:
    trace.run(trace.task(*a_plan(trace)))
    trace.disable(next(iter(trace.models.values())))


@lie(Rule.FUNCTION_TRANSITION)
def a_function_built_without_building(trace: Trace) -> None:
    trace.function(pb.FUNCTION_STATUS_READY)


@lie(Rule.FUNCTION_TRANSITION)
def a_function_that_begins_ready(trace: Trace) -> None:
    trace.function()
    trace.events[-1].function.status = pb.FUNCTION_STATUS_READY


@lie(Rule.FUNCTION_TRANSITION)
def a_ready_function_built_again(trace: Trace) -> None:
    trace.move_function(trace.ready(), pb.FUNCTION_STATUS_BUILDING)


@lie(Rule.ONE_TIME)
def a_child_released_later_than_its_parent_was_done(trace: Trace) -> None:
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    for _ in range(2):
        trace.task(plan, function, parent)
    trace.run(parent)
    shift(trace, timedelta(seconds=1), *trace.events[-2:])


@lie(Rule.ONE_TIME)
def a_plan_that_failed_later_than_its_task(trace: Trace) -> None:
    trace.stop(trace.task(*a_plan(trace)), FAILED)
    shift(trace, timedelta(seconds=1), trace.events[-1])
    trace.events[-1].compute_plan.failure_date.CopyFrom(trace.events[-1].timestamp)


@lie(Rule.ONE_TIME)
def a_date_of_creation_that_is_not_the_events(trace: Trace) -> None:
    trace.plan()
    shift(trace, timedelta(microseconds=1), trace.events[-1])


@lie(Rule.ONE_TIME)
def a_date_of_cancellation_that_is_not_the_events(trace: Trace) -> None:
    trace.cancel(trace.plan())
    shift(trace, timedelta(microseconds=1), trace.events[-1])


@lie(Rule.TIME_ASCENDS)
def a_start_before_the_registration(trace: Trace) -> None:
    trace.start(trace.task(*a_plan(trace)))
    shift(trace, -2 * TOLERANCE, trace.events[-1])


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_by_its_rule_alone(name: str):
    rule, tell = LIES[name]
    trace = Trace()
    tell(trace)
    found = violations(trace)
    assert [violation.rule for violation in found] == [rule]
    assert found[0].event_id in {event.id for event in trace.events}
    assert found[0].words


def test_each_rule_about_events_has_its_lie():
    assert {rule for rule, _ in LIES.values()} == set(Rule) - DATABASE_RULES


def test_the_docs_name_every_rule():
    page = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
    assert re.findall(r"^\| ([a-zA-Z ]+) \| [^|]{9,} \|$", page, re.MULTILINE) == [rule.value for rule in Rule]


def test_what_has_ended_is_not_held():
    """Of a plan that is done nothing remains but small records, however many children and inputs there were."""
    trace = Trace()
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    children = [trace.task(plan, function, parent) for _ in range(20)]
    for task in (parent, *children):
        trace.run(task)
    history = History()
    assert [violation for event in trace.events for violation in history.see(event)] + history.end() == []
    assert not history._plans[plan.key].live
    assert not any(task.live_children or task.parents for task in history._tasks.values())
