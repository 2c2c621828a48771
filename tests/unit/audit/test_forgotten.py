"""A trace whose beginning was forgotten: what is true stays true, and lies about what came after are found."""

from datetime import UTC, datetime
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.audit.history import check
from orchestrator.audit.violations import Rule, Violation
from tests.unit.audit.test_history import true_traces
from tests.unit.audit.test_lies import LIES
from tests.unit.audit.trace import CANCELED, CREATED, DOING, DONE, FAILED, TO_DO, Trace, a_plan


def forget(trace: Trace, calls: int) -> datetime:
    """Forget the first calls; return the time of the last."""
    until = datetime(1970, 1, 1, tzinfo=UTC)
    kept = [list(call) for _, call in groupby(trace.events, key=lambda event: event.timestamp.ToNanoseconds())]
    for call in kept[:calls]:
        until = call[0].timestamp.ToDatetime(UTC)
        del trace.events[: len(call)]
    return until


def cut_here(trace: Trace) -> datetime:
    """Forget all that was told so far."""
    trace.events.clear()
    return trace.now.ToDatetime(UTC)


@settings(deadline=None)
@given(true_traces(), st.integers(0, 60))
def test_what_is_left_of_a_true_trace_is_true(trace: Trace, calls: int):
    until = forget(trace, calls)
    assert list(check(trace.events, until)) == []


NOT_TO_BE_KNOWN = {"a_parent_that_nobody_registered", "a_plan_that_nobody_registered"}
"""What a task refers to, and nothing else tells of, may be older than the trace."""


@pytest.mark.parametrize("name", sorted(LIES.keys() - NOT_TO_BE_KNOWN))
def test_lies_about_what_is_kept_are_found(name: str):
    rule, tell = LIES[name]
    trace = Trace()
    trace.plan()
    until = cut_here(trace)
    tell(trace)
    assert [violation.rule for violation in check(trace.events, until)] == [rule]


def found(trace: Trace, until: datetime) -> list[Violation]:
    return list(check(trace.events, until))


def old_parent_and_child(child_told: bool) -> tuple[Trace, datetime, pb.ComputeTask, pb.ComputeTask]:
    """A parent that is Doing and its child that waits; the beginning up to the parent is forgotten, or all of it."""
    trace = Trace()
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    trace.start(parent)
    until = cut_here(trace)
    child = trace.task(plan, function, parent)
    if not child_told:
        until = cut_here(trace)
    return trace, until, parent, child


def test_a_parent_of_old_that_is_done_after_its_child_began_is_found():
    trace, until, parent, child = old_parent_and_child(child_told=False)
    trace.start(child)
    trace.move(parent, DONE)
    assert [(each.rule, each.asset_key) for each in found(trace, until)] == [(Rule.ONE_COMPLETION, parent.key)]


def test_a_child_that_begins_before_its_parent_of_old_is_done_is_found():
    trace, until, parent, child = old_parent_and_child(child_told=False)
    trace.move(parent, TO_DO)
    trace.move(child, TO_DO)
    assert [(each.rule, each.asset_key) for each in found(trace, until)] == [(Rule.PARENTS_FIRST, child.key)]


def test_a_child_that_its_parent_of_old_does_not_release_is_found():
    trace, until, parent, child = old_parent_and_child(child_told=True)
    trace.call()
    parent.status = DONE
    trace.tell(parent)
    assert [(each.rule, each.asset_key) for each in found(trace, until)] == [(Rule.CHILDREN_RELEASED, child.key)]


def test_a_new_child_that_begins_with_a_parent_of_old_tells_that_the_parent_is_done():
    trace, until, parent, _ = old_parent_and_child(child_told=True)
    trace.events[-1].compute_task.status = TO_DO
    assert found(trace, until) == []
    trace.move(parent, FAILED)
    assert [(each.rule, each.asset_key) for each in found(trace, until)] == [(Rule.END, parent.key)]


def test_what_was_referred_to_cannot_be_created_later():
    trace = Trace()
    until = cut_here(trace)
    plan, function = a_plan(trace)
    parent = trace.task(plan, function)
    trace.task(plan, function, parent)
    trace.events.reverse()
    rules = {(each.rule, each.asset_key) for each in found(trace, until)}
    assert {(Rule.KNOWN_ASSET, key) for key in (plan.key, function.key, parent.key)} <= rules


def test_what_was_created_after_the_forgotten_part_is_told():
    trace = Trace()
    plan, function = a_plan(trace)
    until = cut_here(trace)
    task = trace.task(plan, function)
    trace.events.clear()
    trace.start(task)
    assert [(each.rule, each.asset_key) for each in found(trace, until)] == [(Rule.KNOWN_ASSET, task.key)]


def test_nothing_is_accepted_in_a_plan_that_was_cancelled_of_old():
    trace = Trace()
    plan, function = a_plan(trace)
    task = trace.task(plan, function)
    trace.cancel(plan)
    until = cut_here(trace)
    trace.rename(plan)
    assert found(trace, until) == []
    trace.move(task, DOING)
    assert [each.rule for each in found(trace, until)] == [Rule.NOTHING_AFTER_CANCELLATION]


def test_a_plan_that_ended_of_old_keeps_its_date():
    trace = Trace()
    plan, function = a_plan(trace)
    trace.stop(trace.task(plan, function), FAILED)
    until = cut_here(trace)
    trace.rename(plan)
    plan.ClearField("failure_date")
    trace.rename(plan)
    assert [each.rule for each in found(trace, until)] == [Rule.END]


def test_a_date_of_an_end_after_the_forgotten_part_is_that_of_its_event():
    trace = Trace()
    plan, _ = a_plan(trace)
    until = cut_here(trace)
    trace.call()
    plan.cancelation_date.CopyFrom(trace.now)
    trace.rename(plan)
    assert [each.rule for each in found(trace, until)] == [Rule.ONE_TIME]


@pytest.mark.parametrize("ends", [[DONE, DONE], [CANCELED, DOING], [DOING, DOING]])
def test_a_task_of_old_ends_once_and_runs_once_at_a_time(ends: list[int]):
    trace, until, parent, _ = old_parent_and_child(child_told=False)
    for status in ends:
        trace.move(parent, status)
    assert len(found(trace, until)) == 1


def test_a_whole_trace_may_refer_to_nothing_of_old():
    trace = Trace()
    task = trace.task(*a_plan(trace))
    trace.events.clear()
    trace.start(task)
    trace.move(task, TO_DO)
    assert [each.rule for each in check(trace.events)] == [Rule.KNOWN_ASSET]


def test_the_same_creation_may_be_forgotten_and_told_only_once():
    trace = Trace()
    plan, function = a_plan(trace)
    task = trace.task(plan, function)
    until = cut_here(trace)
    trace.start(task)
    trace.call()
    trace.tell(task, CREATED)
    assert Rule.CREATED_ONCE in {each.rule for each in found(trace, until)}
