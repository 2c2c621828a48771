"""Lies about what an asset is and about the states of a task."""

from orchestrator import protos as pb
from orchestrator.audit.violations import Rule
from tests.unit.audit.lies import Lies
from tests.unit.audit.trace import CANCELED, CREATED, DONE, FAILED, TO_DO, Trace, a_plan

WAITING = pb.STATUS_WAITING_FOR_PARENT_TASKS
LIES = Lies()
lie = LIES.breaking


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
