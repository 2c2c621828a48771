"""Compute plans that go on with others: what is Done is reused, and the rest are new tasks of a new plan."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeAlias
from uuid import UUID, uuid5

from orchestrator import protos as pb
from orchestrator.compute import links, origins, plans, reuse, submissions, task_registration
from orchestrator.compute.assets import compute_plans, functions
from orchestrator.compute.origins import Origin
from orchestrator.compute.ownership import check_owner
from orchestrator.compute.wholes import Packed
from orchestrator.core import states
from orchestrator.core.errors import BadRequestError, ConflictError, InvalidAssetError
from orchestrator.core.fields import parse_key
from orchestrator.engine import plans as latches
from orchestrator.engine import tasks
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction

Asked: TypeAlias = pb.RetryPlanParam | pb.RerunPlanParam
Replacements: TypeAlias = Mapping[str, str]
Reusable: TypeAlias = Callable[[Transaction, Origin, Replacements], set[str]]
"""Returns the tasks of a plan whose results may stand in the one that continues it."""

_UNUSABLE = {pb.FUNCTION_STATUS_FAILED: "was not built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}


def retry(transaction: Transaction, asked: pb.RetryPlanParam) -> pb.Continuation:
    """Register a plan of what is not Done of one that has ended.

    What still runs of a plan that has failed is not begun again: what needs it waits for it.

    Raises:
        BadRequestError: the plan still runs, or all of it is Done.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    return _continue(transaction, asked, pb.CONTINUATION_RETRY, _not_failed)


def rerun(transaction: Transaction, asked: pb.RerunPlanParam) -> pb.Continuation:
    """Register a plan like one of before; what is Done there and has not changed is reused.

    Raises:
        BadRequestError: all of it is Done, and nothing has changed.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    return _continue(transaction, asked, pb.CONTINUATION_RERUN, _unchanged)


def get(transaction: Transaction, wanted: pb.GetContinuationsParam) -> pb.Continuations:
    """Tell which compute plan a plan continues, and which continue it."""
    key = parse_key(wanted.compute_plan_key, "compute_plan_key")
    plan = compute_plans.get(transaction, key)
    continues = links.origin_of(transaction, key) and _answer(transaction, plan)
    return pb.Continuations(continues=continues or None, continued_by=links.continued_by(transaction, key))


def _not_failed(_: Transaction, origin: Origin, __: Replacements) -> set[str]:
    return {key for key, task in origin.tasks.items() if task.status in (pb.STATUS_DONE, pb.STATUS_EXECUTING)}


def _unchanged(transaction: Transaction, origin: Origin, replacements: Replacements) -> set[str]:
    changed = {key: _replaced(task, replacements) for key, task in origin.wanted.items()}
    known = origins.known(transaction, [*origin.wanted.values(), *changed.values()])
    before, now = reuse.contents(origin.wanted, known), reuse.contents(changed, known)
    return {key for key, task in origin.tasks.items() if task.status == pb.STATUS_DONE and before[key] == now[key]}


def _continue(
    transaction: Transaction, asked: Asked, kind: "pb.ContinuationKind.ValueType", reusable: Reusable
) -> pb.Continuation:
    first, key = parse_key(asked.compute_plan_key, "compute_plan_key"), parse_key(asked.key)
    replacements = {
        str(parse_key(old, "replacements")): str(parse_key(new, "replacements"))
        for old, new in asked.replacements.items()
    }
    digest = _digest(asked, kind, replacements)
    if _is_there(transaction, key, digest):
        return _answer(transaction, compute_plans.get(transaction, key))
    held = latches.hold(transaction, [first])
    plan = compute_plans.get(transaction, first)
    check_owner(transaction, "compute plan", plan)
    if kind == pb.CONTINUATION_RETRY:
        _settle(transaction, held[first])
    origin = origins.read(transaction, plan)
    stands = reusable(transaction, origin, replacements)
    again = reuse.again(origin.needs, stands, origin.gone)
    if not again:
        raise BadRequestError(
            f"compute plan {plan.key} has {len(origin.tasks)} tasks, all Done"
            + (", and nothing of it has changed" if kind == pb.CONTINUATION_RERUN else "")
            + ": there is nothing to run again"
        )
    new = pb.NewComputePlan(key=str(key), name=asked.name or plan.name, tag=plan.tag, metadata=plan.metadata)
    try:
        registered = plans.register(transaction, new)
    except ConflictError:
        # The same may have been asked for meanwhile.
        if not _is_there(transaction, key, digest):
            raise
        return _answer(transaction, compute_plans.get(transaction, key))
    # What has not changed though another stands for it is no mistake of a rerun.
    strict = again if kind == pb.CONTINUATION_RETRY else set(origin.tasks)
    _check_replacements(origin, strict, replacements)
    packed = _renew(origin, again, key, replacements)
    _check_functions(transaction, packed)
    submissions.keep(transaction, packed)
    submissions.note(transaction, key, digest, len(packed))
    continued = ((UUID(task), uuid5(key, task) if task in again else None) for task in origin.tasks)
    links.link(transaction, key, first, kind, continued)
    return _answer(transaction, registered)


def _settle(transaction: Transaction, plan: Plan) -> None:
    """Cancel what will be cancelled of a plan that has ended, so that none of it begins while another stands for it.

    Raises:
        BadRequestError: the plan has not ended.
    """
    if plan.ended_at is not None:
        latches.cancel_stuck(transaction, plan.key)
        return
    counts = tasks.count_by_status(transaction, plan.key)
    live = sum(count for status, count in counts.items() if status not in states.TERMINAL)
    if live:
        raise BadRequestError(
            f"compute plan {plan.key} still runs, {live} of its tasks have not ended: wait for its end, "
            "or cancel it first"
        )


def _digest(asked: Asked, kind: "pb.ContinuationKind.ValueType", replacements: Replacements) -> bytes:
    words = [str(kind), asked.compute_plan_key.lower(), asked.key.lower(), asked.name]
    words += [key for pair in sorted(replacements.items()) for key in pair]
    return hashlib.sha256("\0".join(words).encode()).digest()


def _is_there(transaction: Transaction, key: UUID, digest: bytes) -> bool:
    if submissions.existing(transaction, key) is None:
        return False
    if submissions.asked_before(transaction, key, digest) is None:
        raise ConflictError(f"compute plan {key} exists already, and came otherwise than it is asked for now")
    return True


def _answer(transaction: Transaction, plan: pb.ComputePlan) -> pb.Continuation:
    key = UUID(plan.key)
    link = links.origin_of(transaction, key)
    answer = pb.Continuation(plan=plan, origin_key=str(link.origin), kind=link.kind) if link else pb.Continuation()
    for first, second in links.tasks_of(transaction, key):
        answer.tasks.add(origin_task_key=str(first), compute_task_key=str(second) if second else "")
    return answer


def _renew(origin: Origin, again: set[str], plan: UUID, replacements: Replacements) -> Packed:
    """Return the tasks that run again as new ones of a plan; each key follows from the plan's and the first task's."""
    packed = Packed()
    for key, task in origin.wanted.items():
        if key not in again:
            continue
        new = _replaced(task, replacements)
        new.key, new.compute_plan_key = str(uuid5(plan, key)), str(plan)
        inputs = [each for given in new.inputs for each in _input(origin, key, given, again, plan)]
        del new.inputs[:]
        new.inputs.extend(inputs)
        task_registration.prepare(new)
        packed.add(new)
    return packed


def _check_replacements(origin: Origin, among: set[str], replacements: Replacements) -> None:
    used = {
        key
        for task in among
        for new in [origin.wanted[task]]
        for key in (new.function_key, *(given.asset_key for given in new.inputs))
    }
    if unused := replacements.keys() - used:
        raise InvalidAssetError(f"replacements: no task that runs again has {min(unused)}, as a function or an input")


def _replaced(task: pb.NewComputeTask, replacements: Replacements) -> pb.NewComputeTask:
    new = pb.NewComputeTask.FromString(task.SerializeToString())
    new.function_key = replacements.get(task.function_key, task.function_key)
    for given in new.inputs:
        if given.asset_key in replacements:
            given.asset_key = replacements[given.asset_key]
    return new


def _input(
    origin: Origin, task: str, given: pb.ComputeTaskInput, again: set[str], plan: UUID
) -> list[pb.ComputeTaskInput]:
    """Return what a new task is given in the place of what the first was: models of what is Done by their keys."""
    if given.WhichOneof("ref") != "parent_task_output":
        return [given]
    ref = given.parent_task_output
    parent, output = ref.parent_task_key, ref.output_identifier
    if parent in again:
        new = pb.ParentTaskOutputRef(parent_task_key=str(uuid5(plan, parent)), output_identifier=output)
        return [pb.ComputeTaskInput(identifier=given.identifier, parent_task_output=new)]
    status = origin.status(parent)
    if status == pb.STATUS_DONE:
        if (parent, output) in origin.gone:
            raise InvalidAssetError(
                f"task {task}: output {output!r} of task {parent}, which it needs, is gone, and is of another compute "
                "plan: that plan is to be continued first"
            )
        models = origin.made[parent, output]
        return [pb.ComputeTaskInput(identifier=given.identifier, asset_key=model.key) for model in models]
    if status in states.TERMINAL:
        raise InvalidAssetError(
            f"task {task}: task {parent} of another compute plan, whose output it needs, is "
            f"{states.TASK_WORDS[status]}: that plan is to be continued first"
        )
    return [given]


def _check_functions(transaction: Transaction, packed: Packed) -> None:
    """Refuse a function that would fail all its tasks at once."""
    counts = Counter(task.function_key for task in packed.values())
    for function in functions.get_many(transaction, [UUID(key) for key in counts]).values():
        if function.status in _UNUSABLE:
            raise InvalidAssetError(
                f"function {function.key} ({function.name}) {_UNUSABLE[function.status]}, and {counts[function.key]} "
                "tasks would run it: name another in its place"
            )
