"""Lies about what a task leaves behind: results, reports, the end of its plan; and about functions and times."""

from datetime import timedelta

from orchestrator import protos as pb
from orchestrator.audit.snapshots import TOLERANCE
from orchestrator.audit.violations import Rule
from tests.unit.audit.lies import Lies
from tests.unit.audit.trace import CANCELED, DONE, FAILED, Trace, a_plan, shift

LIES = Lies()
lie = LIES.breaking


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
