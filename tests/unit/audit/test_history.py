"""True histories have no violation, and what has ended in them is not held."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.audit.history import History
from orchestrator.audit.snapshots import TOLERANCE
from orchestrator.audit.violations import Rule
from orchestrator.core import states
from tests.unit.audit.trace import CANCELED, DOING, FAILED, TO_DO, Trace, a_plan, shift, violations


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


@settings(deadline=None)
@given(true_traces())
def test_what_a_true_orchestrator_tells_is_true(trace: Trace):
    assert violations(trace) == []


@settings(deadline=None)
@given(true_traces(), st.data())
def test_no_event_may_be_told_twice(trace: Trace, data: st.DataObject):
    told = [event for event in trace.events if event.asset_kind == pb.ASSET_COMPUTE_TASK]
    if told:
        again = data.draw(st.sampled_from(told))
        trace.events.insert(trace.events.index(again) + 1, again)
        assert violations(trace)


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
