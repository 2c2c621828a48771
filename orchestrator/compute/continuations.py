"""Compute plans that go on with others: what is Done is reused, and the rest are new tasks of a new plan."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID, uuid5

from orchestrator import protos as pb
from orchestrator.compute import links, origins, plans, reuse, submissions, task_registration
from orchestrator.compute.assets import compute_plans, functions
from orchestrator.compute.links import Continued
from orchestrator.compute.origins import Origin
from orchestrator.compute.ownership import check_owner
from orchestrator.compute.packed import Packed
from orchestrator.core import states
from orchestrator.core.errors import BadRequestError, ConflictError, InvalidAssetError
from orchestrator.core.fields import parse_key
from orchestrator.engine import plans as latches
from orchestrator.engine import tasks
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction

Asked: TypeAlias = pb.RetryPlanParam | pb.RerunPlanParam
Replacements: TypeAlias = Mapping[str, str]
Kind: TypeAlias = "pb.ContinuationKind.ValueType"

_UNUSABLE = {pb.FUNCTION_STATUS_FAILED: "was not built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}


@dataclass(frozen=True)
class Next:
    """What a plan that continues another is made of.

    Args:
        plan: without its tasks.
        tasks: those that run.
        continued: what became of the tasks of the first.
    """

    plan: pb.NewComputePlan
    tasks: Packed
    continued: list[Continued]


def retry(transaction: Transaction, asked: pb.RetryPlanParam) -> pb.Continuation:
    """Register a plan of what is not Done of one that has ended.

    What still runs of a plan that has failed is not begun again: what needs it waits for it.

    Raises:
        BadRequestError: the plan still runs, or all of it is Done.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    replacements = replacements_of(asked)

    def work(origin: Origin) -> Next:
        stands = set(origin.among(pb.STATUS_DONE, pb.STATUS_EXECUTING))
        again = reuse.again(origin.needs, stands, origin.gone)
        check_replacements(origin, again, replacements)
        return renewed(origin, again, asked, replacements)

    return go_on(transaction, asked.compute_plan_key, asked.key, pb.CONTINUATION_RETRY, digest(asked), work)


def get(transaction: Transaction, wanted: pb.GetContinuationsParam) -> pb.Continuations:
    """Tell which compute plan a plan continues, and which continue it."""
    key = parse_key(wanted.compute_plan_key, "compute_plan_key")
    plan = compute_plans.get(transaction, key)
    continues = _answer(transaction, plan) if links.origin_of(transaction, key) else None
    return pb.Continuations(continues=continues, continued_by=links.continued_by(transaction, key))


def go_on(
    transaction: Transaction, first_key: str, new_key: str, kind: Kind, asked: bytes, work: Callable[[Origin], Next]
) -> pb.Continuation:
    """Register a plan that continues another of the caller, unless it was before.

    Args:
        transaction: of the owner.
        first_key: of the plan that is continued.
        new_key: of the new one.
        kind: how.
        asked: the digest of what was asked for: the same again is answered as it was.
        work: from the first to what the new one is made of.

    Raises:
        ConflictError: the key of the new plan bears something else.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is to be kept then.
    """
    first, key = parse_key(first_key, "compute_plan_key"), parse_key(new_key)
    if _is_there(transaction, key, asked):
        return _answer(transaction, compute_plans.get(transaction, key))
    held = origins.hold(transaction, first)
    plan = compute_plans.get(transaction, first)
    check_owner(transaction, "compute plan", plan)
    if held and kind == pb.CONTINUATION_RETRY:
        _settle(transaction, held)
    origin = origins.read(transaction, plan)
    following = work(origin)
    if not following.tasks:
        raise BadRequestError(
            f"compute plan {plan.key} has {len(origin.tasks)} tasks, all Done"
            + (", and nothing of it has changed" if kind == pb.CONTINUATION_RERUN else "")
            + ": there is nothing to run again"
        )
    try:
        registered = plans.register(transaction, following.plan)
    except ConflictError:
        # The same may have been asked for meanwhile.
        if not _is_there(transaction, key, asked):
            raise
        return _answer(transaction, compute_plans.get(transaction, key))
    _check_functions(transaction, following.tasks)
    submissions.keep(transaction, following.tasks, as_parents=True)
    submissions.note(transaction, key, asked, len(following.tasks))
    links.link(transaction, key, first, kind, following.continued)
    return _answer(transaction, registered)


def _settle(transaction: Transaction, plan: Plan) -> None:
    """Cancel what will be cancelled of a plan that has ended, so that none of it begins while another stands for it.

    Raises:
        BadRequestError: the plan has not ended.
    """
    if plan.ended_at is not None:
        latches.cancel_stuck(transaction, plan.key)
        return
    counts = tasks.count_by_status(transaction, [plan.key]).get(plan.key, {})
    live = sum(count for status, count in counts.items() if status not in states.TERMINAL)
    if live:
        raise BadRequestError(
            f"compute plan {plan.key} still runs, {live} of its tasks have not ended: wait for its end, "
            "or cancel it first"
        )


def digest(asked: Asked) -> bytes:
    """Return the SHA-256 of what is asked for, however its keys are spelled."""
    words = [asked.DESCRIPTOR.name, asked.compute_plan_key.lower(), asked.key.lower(), asked.name]
    words += [key for pair in sorted(replacements_of(asked).items()) for key in pair]
    return hashlib.sha256("\0".join(words).encode()).digest()


def _is_there(transaction: Transaction, key: UUID, asked: bytes) -> bool:
    if submissions.existing(transaction, key) is None:
        return False
    if submissions.asked_before(transaction, key, asked) is None:
        raise ConflictError(
            f"compute plan {key} exists already, and not by the same retry or rerun: leave its key out, or ask for the "
            "same plan, name and replacements again"
        )
    return True


def _answer(transaction: Transaction, plan: pb.ComputePlan) -> pb.Continuation:
    key = UUID(plan.key)
    link = links.origin_of(transaction, key)
    answer = pb.Continuation(plan=plan, runs=submissions.count(transaction, key))
    if link:
        answer.origin_key, answer.kind = str(link.origin), link.kind
    for each in links.tasks_of(transaction, key):
        place = str(each.place) if each.place else ""
        answer.tasks.add(origin_task_key=str(each.first), compute_task_key=place, reused=each.reused)
    return answer


def replacements_of(asked: Asked) -> Replacements:
    """Return what stands in the place of what, as keys are stored.

    Raises:
        InvalidAssetError: one is no key.
    """
    return {
        str(parse_key(old, "replacements")): str(parse_key(new, "replacements"))
        for old, new in asked.replacements.items()
    }


def check_replacements(origin: Origin, among: Collection[str], replacements: Replacements) -> None:
    """Check that some tasks have what is to be replaced.

    Raises:
        InvalidAssetError: none of them has.
    """
    used = {
        key
        for task in among
        for new in [origin.tasks[task]]
        for key in (new.function_key, *(given.asset_key for given in new.inputs))
    }
    # Without a task there is nothing to run again, which is said then.
    if among and (unused := replacements.keys() - used):
        raise InvalidAssetError(f"replacements: no task that runs again has {min(unused)}, as a function or an input")


def renewed(origin: Origin, again: Collection[str], asked: Asked, replacements: Replacements) -> Next:
    """Return a plan of the tasks that run again; each key follows from the plan's and the first task's."""
    plan, packed = parse_key(asked.key), Packed()
    for key, task in origin.tasks.items():
        if key not in again:
            continue
        new = replaced(task, replacements)
        new.key, new.compute_plan_key = str(uuid5(plan, key)), str(plan)
        inputs = [each for given in new.inputs for each in _input(origin, key, given, again, plan)]
        del new.inputs[:]
        new.inputs.extend(inputs)
        task_registration.prepare(new)
        packed.add(new)
    return Next(
        pb.NewComputePlan(
            key=str(plan), name=asked.name or origin.plan.name, tag=origin.plan.tag, metadata=origin.plan.metadata
        ),
        packed,
        [Continued(UUID(key), uuid5(plan, key) if key in again else None, key not in again) for key in origin.tasks],
    )


def replaced(task: pb.NewComputeTask, replacements: Replacements) -> pb.NewComputeTask:
    """Return a task with what stands in the place of its function and its inputs."""
    new = pb.NewComputeTask.FromString(task.SerializeToString())
    new.function_key = replacements.get(task.function_key, task.function_key)
    for given in new.inputs:
        if given.asset_key in replacements:
            given.asset_key = replacements[given.asset_key]
    return new


def _input(
    origin: Origin, task: str, given: pb.ComputeTaskInput, again: Collection[str], plan: UUID
) -> list[pb.ComputeTaskInput]:
    if given.WhichOneof("ref") != "parent_task_output":
        return [given]
    ref = given.parent_task_output
    if ref.parent_task_key not in again:
        return reused_input(origin, task, given, ref.parent_task_key)
    new = pb.ParentTaskOutputRef(
        parent_task_key=str(uuid5(plan, ref.parent_task_key)), output_identifier=ref.output_identifier
    )
    return [pb.ComputeTaskInput(identifier=given.identifier, parent_task_output=new)]


def reused_input(origin: Origin, task: str, given: pb.ComputeTaskInput, maker: str) -> list[pb.ComputeTaskInput]:
    """Return what a task is given that was an output: models of what is Done by their keys.

    Args:
        origin: the plan that is continued.
        task: for messages.
        given: as it was.
        maker: the task of the origin, or a parent of one, that makes the output or has made it.

    Raises:
        InvalidAssetError: the output is of another plan, and is gone or will never be.
    """
    output, status = given.parent_task_output.output_identifier, origin.statuses[maker]
    if status == pb.STATUS_DONE:
        if (maker, output) in origin.gone:
            raise InvalidAssetError(
                f"task {task}: output {output!r} of task {maker}, which it needs, is gone, and is of another compute "
                "plan: that plan is to be continued first"
            )
        models = origin.made[maker, output]
        return [pb.ComputeTaskInput(identifier=given.identifier, asset_key=model.key) for model in models]
    if status in states.TERMINAL:
        raise InvalidAssetError(
            f"task {task}: task {maker} of another compute plan, whose output it needs, is "
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
