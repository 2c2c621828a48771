"""What a claim hands over to a module: limits at once, inputs when it asks for them, with the secrets put back."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration
from orchestrator.engine import attempts, tasks
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, iterations, outputs, secrets, settings, stages
from orchestrator.store.statements import statement

PART = 3 * 1024 * 1024
"""Most bytes of a part."""


def work(task: Task) -> pb.StageWork:
    """Return what a claim says."""
    stage, limits = stages.of_task(task), settings.current()
    return pb.StageWork(
        task_id=stage.task_id,
        run=stage.run,
        kind=stage.kind,
        soft_limit=duration(timedelta(seconds=limits.soft_limit(stage.kind))),
        hard_limit=duration(timedelta(seconds=limits.hard_limit(stage.kind))),
    )


def inputs_of(transaction: Transaction, attempt: pb.Attempt) -> Sequence[pb.StagePart]:
    """Return the inputs of an attempt in parts.

    Raises:
        IncompatibleStatusError: the attempt does not hold its stage.
    """
    task = held(transaction, attempt)
    stage = stages.of_task(task)
    data = _inputs(transaction, stage).SerializeToString()
    return [pb.StagePart(data=data[at : at + PART]) for at in range(0, len(data), PART)]


_HELD = statement("""
    SELECT FROM task_states WHERE key = :key AND status = $DOING AND attempts = :number
    AND token_hash = CAST(:token_hash AS bytea)
""")


def held(transaction: Transaction, attempt: pb.Attempt) -> Task:
    """Return the task that an attempt of the caller holds.

    Raises:
        IncompatibleStatusError: it does not hold it.
    """
    key = parse_key(attempt.compute_task_key, "compute_task_key")
    task = tasks.get(transaction, key)
    tasks.check_worker(transaction, task)
    parameters = {"key": key, "number": attempt.number, "token_hash": attempts.digest(attempt.token)}
    if task.kind != stages.KIND or not transaction.connection.execute(_HELD, parameters).rowcount:
        raise IncompatibleStatusError(
            f"attempt {attempt.number} does not hold task {UUID(attempt.compute_task_key)} (any more): it has "
            "ended, or another one runs"
        )
    return task


def _inputs(transaction: Transaction, stage: pb.StageTask) -> pb.StageInputs:
    row = iterations.row_of(transaction, stage.deployment, stage.task_id)
    needs = graph.KINDS[stage.kind].needs
    own = secrets.decrypt(row.secrets)
    here = outputs.of_kinds(
        transaction,
        stage.deployment,
        stage.task_id,
        [need.source for need in needs if not need.baseline and need.source != graph.USER_INPUT],
        raw=True,
    )
    baselines = [need.source for need in needs if need.baseline]
    parent = pb.TaskId(problem_id=row.problem, iteration_id=row.parent)
    of_parent = (
        outputs.of_kinds(transaction, stage.deployment, parent, baselines, raw=True) if baselines and row.parent else {}
    )
    found = pb.StageInputs(task_id=stage.task_id)
    for need in needs:
        made: Any
        if need.source == graph.USER_INPUT:
            made = pb.UserInput.FromString(row.user_input)
        else:
            made = (of_parent if need.baseline else here).get(need.source) or graph.output_of(need.source)()
        made.task_id.CopyFrom(stage.task_id)
        secrets.put_back(made, own)
        found.inputs.append(_packed(made))
    return found


def _packed(message: Message) -> pb.StageInput:
    return pb.StageInput(type=message.DESCRIPTOR.full_name, message=message.SerializeToString())


def joined(parts: "Iterator[pb.StagePart]") -> tuple[pb.StagePart, bytes]:
    """Return the first part of a report, and the bytes of all.

    Raises:
        IncompatibleStatusError: there is no part.
    """
    first, data = None, bytearray()
    most = settings.current().problems_largest_output
    for part in parts:
        first = first or part
        # What is too large is measured, and not kept.
        data += part.data if len(data) <= most else b""
    if first is None:
        raise IncompatibleStatusError("the report came without a part; the first one bears the attempt")
    return first, bytes(data)
