"""Explanations: why a task is in its state, in one sentence and as data."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import builds, results, tasks
from orchestrator.core import pokes, states
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import attempts, declines, nodes, outbox, parents, plans
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page
from orchestrator.trace import events

_LIVE = states.TASK_TRANSITIONS.keys() - states.TERMINAL
_STOPPED = frozenset({pb.STATUS_FAILED, pb.STATUS_CANCELED})
_UPWARDS = {pb.CAUSE_PARENT: _LIVE, pb.CAUSE_PARENT_ENDED: _STOPPED}
"""The states of the ancestors among which the cause of a cause is looked for."""

_ENDED_FUNCTION = {
    pb.FUNCTION_STATUS_FAILED: "could not be built by",
    pb.FUNCTION_STATUS_CANCELED: "was cancelled by",
}
_FAULTS = {
    FaultKind.BUILD: "a build error",
    FaultKind.EXECUTION: "an execution error",
    FaultKind.INTERNAL: "an internal error",
    FaultKind.LOST: "the loss of its worker",
    FaultKind.TIMEOUT: "the end of its time limit",
}
_SHORT_KEY = 8


def explain(transaction: Transaction, asked: pb.ExplainTaskParam) -> pb.Explanation:
    """Say why a task is in its state; of one that waits for a parent also what the first ancestor waits for.

    Raises:
        NotFoundError: the channel has no such task.
    """
    task = tasks.row(transaction, parse_key(asked.compute_task_key, "compute_task_key"))
    causes = _causes(transaction, task)
    while (way := _UPWARDS.get(causes[-1].kind)) is not None:
        ancestor = parents.farthest(transaction, UUID(causes[-1].compute_task_key), way)
        if str(ancestor.key) == causes[-1].compute_task_key:
            # It was moved between two statements.
            break
        further = _causes(transaction, ancestor)
        if str(ancestor.key) != causes[-1].asset_key:
            further[0].words = f"{_named(ancestor)}, {_state(transaction, ancestor)}: {further[0].words}"
        causes += further
    clauses = [cause.words for cause in causes]
    since = _since(transaction, task)
    sentence = f"{task.word} since {_clock(transaction, since)}: {'; '.join(clauses)}"
    return pb.Explanation(
        compute_task_key=str(task.key),
        status=task.status,
        since=timestamp(since),
        sentence=sentence,
        causes=causes,
        now=timestamp(transaction.now),
    )


def _causes(transaction: Transaction, task: Task) -> list[pb.Cause]:
    """Return what keeps a task in its state, the nearest first; never nothing."""
    found = _OF_STATUS[task.status](transaction, task)
    for cause in found:
        cause.compute_task_key = str(task.key)
    return found


def _unbuilt(transaction: Transaction, task: Task) -> list[pb.Cause]:
    function = results.function_of(transaction, tasks.to_message(task))
    seats = nodes.seats(transaction, pokes.queue(function.owner))
    begun = function.status == pb.FUNCTION_STATUS_BUILDING
    words = f"{function.owner} {'builds' if begun else 'has not begun to build'} its function {function.name!r}"
    cause = pb.Cause(kind=pb.CAUSE_FUNCTION, asset_key=function.key, organization=function.owner, words=words)
    if (delay := builds.last(transaction, UUID(function.key))) is not None:
        cause.attempt = delay.number
        cause.since.CopyFrom(delay.time)
        times = "once" if delay.number == 1 else f"{delay.number} times"
        when = _clock(transaction, delay.time.ToDatetime(UTC))
        cause.words = (
            f"{function.owner} tries again to build its function {function.name!r}, which it did {times} in vain, "
            f"last at {when}: {delay.reason}"
        )
    return [cause, *([] if seats.heard else [_unheard(transaction, function.owner, seats)])]


def _waiting(transaction: Transaction, task: Task) -> list[pb.Cause]:
    if stopped := _stopped_parent(transaction, task):
        return [stopped]
    found = parents.first(transaction, task.key, _LIVE)
    if found is None:
        # Between two statements the last of them has ended.
        return [pb.Cause(kind=pb.CAUSE_OFFERED, organization=task.worker, words="all that it waited for has ended")]
    parent, count = found
    others = "" if count == 1 else f" and for {count - 1} more"
    return [
        pb.Cause(
            kind=pb.CAUSE_PARENT,
            asset_key=str(parent.key),
            organization=parent.worker,
            status=parent.status,
            since=timestamp(_since(transaction, parent)),
            count=count,
            words=f"waits for parent {_named(parent)}, {_state(transaction, parent)}{others}",
        )
    ]


def _stopped_parent(transaction: Transaction, task: Task) -> pb.Cause | None:
    found = parents.first(transaction, task.key, _STOPPED)
    if found is None:
        return None
    parent, count = found
    return pb.Cause(
        kind=pb.CAUSE_PARENT_ENDED,
        asset_key=str(parent.key),
        organization=parent.worker,
        status=parent.status,
        since=timestamp(_since(transaction, parent)),
        count=count,
        words=f"parent {_named(parent)} is {_state(transaction, parent)}",
    )


def _to_do(transaction: Transaction, task: Task) -> list[pb.Cause]:
    last = attempts.last(transaction, task.key)
    if last.due_at is not None and last.due_at > transaction.now:
        ended = f" after {_FAULTS[FaultKind(last.fault)]}" if last.fault else ""
        words = f"{task.worker} tries it again at {_clock(transaction, last.due_at)}{ended} of attempt {last.number}"
        return [
            pb.Cause(
                kind=pb.CAUSE_RETRY,
                organization=task.worker,
                until=timestamp(last.due_at),
                attempt=last.number,
                words=words,
            )
        ]
    declined, _ = declines.page(transaction, Page("", 1), worker="", plan=None, task=task.key)
    if declined:
        words = f"{task.worker} declines it: {declined[0].reason}"
        kind = pb.CAUSE_NOT_APPROVED
        return [pb.Cause(kind=kind, organization=task.worker, since=declined[0].time, words=words)]
    return [_queued(transaction, task)]


def _queued(transaction: Transaction, task: Task) -> pb.Cause:
    seats = nodes.seats(transaction, task.queue)
    if not seats.heard:
        return _unheard(transaction, task.worker, seats)
    before = outbox.before(transaction.connection, task.queue, task.key, task.attempts + 1)
    free = seats.slots is None or seats.taken < seats.slots
    cause = pb.Cause(organization=task.worker, slots=seats.slots or 0, taken=seats.taken, before=before)
    if free and not before:
        cause.kind, cause.words = pb.CAUSE_OFFERED, f"{task.worker} is told of it and has a free slot"
        return cause
    slots = "runs others" if seats.slots is None else f"has {seats.taken} of {seats.slots} slots taken"
    queue = f", {before} {'is' if before == 1 else 'are'} before it" if before else ", it is the next"
    cause.kind, cause.words = pb.CAUSE_SLOTS, f"{task.worker} {slots}{queue}"
    return cause


def _unheard(transaction: Transaction, organization: str, seats: nodes.Seats) -> pb.Cause:
    cause = pb.Cause(organization=organization)
    if seats.heard_at is None:
        cause.kind, cause.words = pb.CAUSE_NEVER_HEARD, f"no node of {organization} was ever heard"
        return cause
    cause.kind = pb.CAUSE_AWAY
    cause.since.FromDatetime(seats.heard_at)
    cause.words = f"{organization} is away since {_clock(transaction, seats.heard_at)}"
    return cause


def _doing(transaction: Transaction, task: Task) -> list[pb.Cause]:
    last = attempts.last(transaction, task.key)
    running = pb.Cause(
        kind=pb.CAUSE_RUNNING,
        organization=task.worker,
        node=last.node or "",
        attempt=last.number,
        since=timestamp(last.claimed_at),
        words=f"{task.worker}{f' ({last.node})' if last.node else ''} runs attempt {last.number}",
    )
    if last.lease_until is None or last.lease_until >= transaction.now:
        return [running]
    heard = nodes.heard_at(transaction, task.worker, last.node) or last.claimed_at
    silent = pb.Cause(
        kind=pb.CAUSE_SILENT,
        organization=task.worker,
        node=last.node,
        attempt=last.number,
        since=timestamp(heard),
        until=timestamp(last.lease_until),
        words=f"{last.node} is silent since {_clock(transaction, heard)}, so that the attempt counts as lost",
    )
    return [running, silent]


def _done(_: Transaction, task: Task) -> list[pb.Cause]:
    return [
        pb.Cause(
            kind=pb.CAUSE_DONE,
            organization=task.worker,
            attempt=task.attempts,
            words=f"{task.worker} has completed attempt {task.attempts}",
        )
    ]


def _failed(transaction: Transaction, task: Task) -> list[pb.Cause]:
    function = _ended_function(transaction, task)
    if function is not None:
        return [function]
    last = attempts.last(transaction, task.key)
    if last.fault:
        words = f"attempt {last.number} at {task.worker} ended in {_FAULTS[FaultKind(last.fault)]}"
        # An event tells it as `attempt 3: internal error: why`, where the worker says why.
        words = ": ".join((words, *_reason(transaction, task).split(": ", 2)[2:]))
    else:
        words = _reason(transaction, task) or f"{task.worker} reported that it failed"
    return [pb.Cause(kind=pb.CAUSE_FAULT, organization=task.worker, attempt=last.number or 0, words=words)]


def _cancelled(transaction: Transaction, task: Task) -> list[pb.Cause]:
    plan = plans.get(transaction, task.plan)
    if plan.outcome == pb.STATUS_CANCELED and plan.ended_at is not None:
        words = f"its compute plan was cancelled by {plan.owner}"
        return [_of_plan(pb.CAUSE_PLAN_CANCELLED, plan, plan.ended_at, words)]
    function = _ended_function(transaction, task)
    if function is not None:
        return [function]
    if stopped := _stopped_parent(transaction, task):
        return [stopped]
    if plan.ended_at is not None:
        words = f"its compute plan has failed at {_clock(transaction, plan.ended_at)}"
        return [_of_plan(pb.CAUSE_PLAN_FAILED, plan, plan.ended_at, words)]
    words = _reason(transaction, task) or f"it was cancelled by {task.owner} or {task.worker}"
    return [pb.Cause(kind=pb.CAUSE_ENDED, organization=task.owner, words=words)]


def _of_plan(kind: "pb.CauseKind.ValueType", plan: plans.Plan, ended: datetime, words: str) -> pb.Cause:
    return pb.Cause(kind=kind, asset_key=str(plan.key), organization=plan.owner, since=timestamp(ended), words=words)


def _ended_function(transaction: Transaction, task: Task) -> pb.Cause | None:
    """Return that a task that never began has ended with its function, None where that is not so."""
    function = results.function_of(transaction, tasks.to_message(task))
    if task.attempts or function.status not in _ENDED_FUNCTION:
        return None
    words = f"its function {function.name!r} {_ENDED_FUNCTION[function.status]} {function.owner}"
    kind = pb.CAUSE_FUNCTION_ENDED
    return pb.Cause(kind=kind, asset_key=function.key, organization=function.owner, words=words)


_OF_STATUS: Mapping[states.TaskStatus, Callable[[Transaction, Task], list[pb.Cause]]] = {
    pb.STATUS_WAITING_FOR_BUILDER_SLOT: _unbuilt,
    pb.STATUS_BUILDING: _unbuilt,
    pb.STATUS_WAITING_FOR_PARENT_TASKS: _waiting,
    pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: _to_do,
    pb.STATUS_EXECUTING: _doing,
    pb.STATUS_DONE: _done,
    pb.STATUS_FAILED: _failed,
    pb.STATUS_CANCELED: _cancelled,
}


def _since(transaction: Transaction, task: Task) -> datetime:
    """Return when a task came into its state; when it was registered, where the events of that are forgotten."""
    last = events.last_of(transaction.connection, transaction.channel, str(task.key), pb.ASSET_COMPUTE_TASK)
    return last[0] if last else tasks.to_message(task).creation_date.ToDatetime(UTC)


def _reason(transaction: Transaction, task: Task) -> str:
    last = events.last_of(transaction.connection, transaction.channel, str(task.key), pb.ASSET_COMPUTE_TASK)
    return last[1] if last else ""


def _named(task: Task) -> str:
    return f"{str(task.key)[:_SHORT_KEY]} at {task.worker}"


def _state(transaction: Transaction, task: Task) -> str:
    return f"{task.word} since {_clock(transaction, _since(transaction, task))}"


def _clock(transaction: Transaction, moment: datetime) -> str:
    """Return a moment as a clock shows it, with its day where that is another than today."""
    at = moment.astimezone(UTC)
    day = "" if at.date() == transaction.now.astimezone(UTC).date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M} UTC"
