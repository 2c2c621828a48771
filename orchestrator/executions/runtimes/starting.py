"""The start of an execution as a workflow of Argo: the step that places it, and what follows of that step."""

import json
from collections.abc import Mapping, Sequence
from typing import Any as Json
from uuid import UUID

from google.protobuf.any_pb2 import Any

from orchestrator import protos as pb
from orchestrator.engine import plans
from orchestrator.engine.kinds import Failure
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, states
from orchestrator.executions.runtimes import adapters, runs, steps
from orchestrator.executions.runtimes.roles import Quiet
from orchestrator.executions.runtimes.steps import NewStep
from orchestrator.executions.settings import ExecutionSettings

_OVER = (states.SUCCEEDED, states.FAILED)


def begin(
    transaction: Transaction, execution: pb.Execution, manifest: Mapping[str, Json], settings: ExecutionSettings
) -> None:
    """Have a runtime start a new execution, from the commit on.

    Args:
        transaction: that keeps it.
        execution: with its id and its dates.
        manifest: of its workflow.
        settings: of executions.
    """
    worker = settings.executions_organization or transaction.organization
    adapter = adapters.name(execution) if execution.number_iterations else ""
    plan, label = runs.insert(transaction, execution, worker, runs.ARGO, adapter)
    work = pb.StartWork(
        execution=execution.id,
        manifest=json.dumps(manifest, ensure_ascii=False).encode(),
        label=label,
        communication_adapter=adapter,
    )
    steps.register(transaction, plan, execution.id, [step_of(work, worker, settings)])


def step_of(work: pb.StartWork, worker: str, settings: ExecutionSettings) -> NewStep:
    """Return a step that starts an execution, and is tried again while others are away.

    Args:
        work: what a runtime is told; without a manifest it makes topics, and no workflow.
        worker: the organization whose runtime it is.
        settings: of executions.
    """
    retries = {
        "orchestrator.retry.internal.attempts": str(settings.executions_start_attempts),
        "orchestrator.retry.lost.attempts": str(settings.executions_start_attempts),
        "orchestrator.retry.backoff": "2",
        "orchestrator.retry.cap": "60",
    }
    return NewStep(pb.STEP_ROLE_START, work, worker, steps.runtime_queue(worker), retries=retries)


class Start(Quiet[pb.Started]):
    """Steps that place workflows."""

    def __init__(self) -> None:
        super().__init__(pb.Started)

    def handed(self, transaction: Transaction, step: pb.ExecutionStep, work: Any) -> None:
        """Say so where the execution has ended meanwhile, by a report."""
        if executions.get(transaction, step.execution).status in _OVER:
            # The later of two values of a field wins.
            work.value += pb.StartWork(over=True).SerializeToString()

    def complete(self, transaction: Transaction, step: pb.ExecutionStep, result: pb.Started) -> None:
        """Note what the workflow is called."""
        if result.workflow:
            runs.note(transaction, step.execution, result.workflow)

    def fail(self, transaction: Transaction, step: pb.ExecutionStep, failure: Failure) -> None:
        """Fail the execution, unless pods have reported of it: then its workflow is there, and goes on.

        Containers of ours have not begun, whatever was reported.
        """
        reported = failure.report.reason if failure.report else ""
        reason = f"it could not be started: {reported or 'its runtimes were lost, again and again'}"
        placed = runs.get(transaction, step.execution).implementation == runs.ARGO
        if give_up(transaction, step.execution, reason, (states.PENDING,) if placed else states.LIVING):
            plans.end(transaction, UUID(step.plan), pb.STATUS_FAILED)


def give_up(
    transaction: Transaction, id_: int, reason: str, sources: Sequence[states.Status] = (states.PENDING,)
) -> bool:
    """Fail an execution that has not begun, and have removed what may have been made of it.

    Args:
        transaction: that holds the latch of its plan.
        id_: which.
        reason: why, for people.
        sources: the states in which it has not begun.

    Returns:
        Whether it was in one of them; nothing is changed otherwise.
    """
    if not executions.fail(transaction, id_, reason, sources):
        return False
    execution, run = executions.get(transaction, id_), runs.get(transaction, id_)
    works: list[steps.Sent] = []
    if run.implementation == runs.ARGO:
        end = pb.EndWork(execution=id_, label=runs.label(runs.installation(transaction), id_))
        works.append((id_, pb.STEP_ROLE_END, end))
    if execution.number_iterations:
        clean = pb.CleanWork(communication_adapters=[adapters.name(execution)])
        works.append((id_, pb.STEP_ROLE_CLEAN, clean))
    steps.send(transaction, run.worker, works)
    return True


def expire(transaction: Transaction, id_: int, reason: str) -> bool:
    """Give an execution up whose start nobody has seen to; return whether it was pending."""
    plan = runs.get(transaction, id_).plan
    plans.hold(transaction, [plan])
    live = plans.lock_live(transaction, plan)
    if not give_up(transaction, id_, reason):
        return False
    plans.end(transaction, plan, pb.STATUS_CANCELED)
    plans.cancel(transaction, live, reason)
    return True
