"""Compute plans that are registered whole, or not at all; the same again is answered as the first was."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import organizations, plans, task_registration, wholes
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.assets import compute_plans
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.core import permissions
from orchestrator.core.errors import BadRequestError, ConflictError
from orchestrator.engine import tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement


def submit(transaction: Transaction, parts: Iterable[pb.SubmitPlanParam]) -> pb.Submission:
    """Register a compute plan of the caller with all its tasks.

    Raises:
        ConflictError: its key bears another content, of which the first task that differs is named.
        OrchestratorError: the contract's error for the first rule that is broken; nothing is kept.
    """
    head, packed = wholes.read(parts)
    new = head.plan
    if not is_there(transaction, new, packed):
        try:
            plans.register(transaction, new)
        except ConflictError:
            # Another has registered it meanwhile; where it is not in this channel, it is not ours to compare.
            if not is_there(transaction, new, packed):
                raise
        else:
            keep(transaction, packed)
            note(transaction, UUID(new.key), packed.digest(new), len(packed))
    return pb.Submission(plan=compute_plans.get(transaction, UUID(new.key)), tasks=len(packed))


def is_there(transaction: Transaction, new: pb.NewComputePlan, packed: Packed) -> bool:
    """Tell whether a plan was submitted already.

    Raises:
        ConflictError: its key bears another content, of which the first difference is named.
    """
    key = UUID(new.key)
    plan = existing(transaction, key)
    if plan is None:
        return False
    if asked_before(transaction, key, packed.digest(new)) is None:
        _compare(transaction, plan, new, packed)
    return True


def keep(transaction: Transaction, packed: Packed, *, as_parents: bool = False) -> None:
    """Keep the tasks of a new plan of the caller.

    Args:
        transaction: of the caller.
        packed: the tasks.
        as_parents: whether tasks whose models are given by their keys count as parents where it is said who may read
            logs: in the plan that is continued they were.

    Raises:
        OrchestratorError: the contract's error for the first rule that one of them breaks.
    """
    if packed:
        # What is yielded would be the answer of the contract's call; ours names the plan alone.
        references = References(packed.values())
        for _ in task_registration.write(transaction, packed, references, as_parents=as_parents):
            pass


def existing(transaction: Transaction, key: UUID) -> pb.ComputePlan | None:
    """Return a plan of the caller, None where the channel has none with the key.

    Raises:
        ConflictError: it is another organization's.
    """
    plan = compute_plans.get_many(transaction, [key]).get(str(key))
    if plan is not None and plan.owner != transaction.organization:
        raise ConflictError(f"compute plan {key} exists already, and belongs to {plan.owner}")
    return plan


_NOTE = statement("INSERT INTO submissions (plan_key, digest, tasks) VALUES (:plan, :digest, :tasks)")


def note(transaction: Transaction, plan: UUID, digest: bytes, count: int) -> None:
    """Note what a plan was made of.

    Args:
        transaction: of its owner.
        plan: which one.
        digest: of what was asked for.
        count: how many tasks it has.
    """
    transaction.connection.execute(_NOTE, {"plan": plan, "digest": digest, "tasks": count})


_ASKED = statement("SELECT tasks FROM submissions WHERE plan_key = :plan AND digest = :digest")


def asked_before(transaction: Transaction, plan: UUID, digest: bytes) -> int | None:
    """Return how many tasks a plan has brought that was asked for in the same words, None where it was not."""
    count: int | None = transaction.connection.execute(_ASKED, {"plan": plan, "digest": digest}).scalar_one_or_none()
    return count


_COUNT = statement("SELECT tasks FROM submissions WHERE plan_key = :plan")


def count(transaction: Transaction, plan: UUID) -> int:
    """Return how many tasks a plan has brought that came whole."""
    return int(transaction.connection.execute(_COUNT, {"plan": plan}).scalar_one())


def _compare(transaction: Transaction, plan: pb.ComputePlan, new: pb.NewComputePlan, packed: Packed) -> None:
    """Check that a plan which is there is the one that is sent.

    Raises:
        ConflictError: it is not; the first difference is named.
    """
    begin = f"compute plan {plan.key} exists already, with another content: "
    for field in ("name", "tag", "metadata"):
        if getattr(plan, field) != getattr(new, field):
            raise ConflictError(f"{begin}its {field} differs")
    stored = {str(task.key): task for task in tasks.of_plan(transaction, UUID(plan.key))}
    members = organizations.names(transaction)
    for key, given in packed.items():
        if key not in stored:
            raise ConflictError(f"{begin}task {key} is not in it")
        task = compute_tasks.to_message(stored[key])
        for field in _differences(task, given, transaction.organization, members):
            raise ConflictError(f"{begin}task {key} differs in its {field}")
    for key in stored:
        if key not in packed:
            raise ConflictError(f"{begin}task {key} of it was not sent")


def _differences(task: pb.ComputeTask, given: pb.NewComputeTask, owner: str, members: set[str]) -> Iterator[str]:
    """Yield the words for what a task that is stored has otherwise than one that is sent."""
    if task.function_key != given.function_key:
        yield "function"
    if given.worker and task.worker != given.worker:
        yield "worker"
    if task.metadata != given.metadata:
        yield "metadata"
    if list(task.inputs) != list(given.inputs):
        yield "inputs"
    try:
        outputs = {
            name: pb.ComputeTaskOutput(
                permissions=permissions.grant_both(output.permissions, owner, members), transient=output.transient
            )
            for name, output in given.outputs.items()
        }
    except BadRequestError:
        yield "outputs"
        return
    if dict(task.outputs) != outputs:
        yield "outputs"
