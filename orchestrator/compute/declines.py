"""Declines: a worker says that its consent policy does not cover a task, and takes that back when it does."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import results, tasks
from orchestrator.core import fields, states
from orchestrator.core.errors import BadRequestError, IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.engine import declines
from orchestrator.engine.tasks import check_worker
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page

_LONGEST_REASON = 500

MOST_AT_ONCE = 1000
"""How many declines are taken back in one call."""


def decline(transaction: Transaction, asked: pb.DeclineTaskParam) -> pb.DeclineTaskResponse:
    """Note that the calling worker does not run a task To do, and why; it is not poked again meanwhile.

    Raises:
        PermissionDeniedError: the task is another organization's.
        IncompatibleStatusError: it is not To do, or pauses before its next attempt.
    """
    key = parse_key(asked.compute_task_key, "compute_task_key")
    fields.check_text(asked.reason, "reason", least=1, most=_LONGEST_REASON)
    if not asked.function and not asked.plan:
        raise BadRequestError("function, plan: one of them at least is not consented to where a task is declined")
    task, _ = tasks.get_for_update(transaction, key)
    check_worker(transaction, task)
    function = results.function_of(transaction, task)
    declined = pb.Decline(
        compute_task_key=task.key,
        compute_plan_key=task.compute_plan_key,
        plan_owner=task.owner,
        function_key=function.key,
        function_name=function.name,
        function_owner=function.owner,
        function_checksum=function.archive.checksum.lower(),
        worker=task.worker,
        reason=asked.reason,
        function=asked.function,
        plan=asked.plan,
        refused=asked.refused,
    )
    news = declines.decline(transaction, declined)
    if news is None:
        raise _refusal(transaction, key)
    if news:
        declined.time.FromDatetime(transaction.now)
        transaction.events.declined(declined)
    return pb.DeclineTaskResponse()


def _refusal(transaction: Transaction, key: UUID) -> IncompatibleStatusError:
    task = tasks.get(transaction, key)
    if task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        return IncompatibleStatusError(f"task {key}: the pause before its next attempt is not over")
    return IncompatibleStatusError(f"task {key} is {states.TASK_WORDS[task.status]}, not To do")


def reconsider(transaction: Transaction, asked: pb.ReconsiderTasksParam) -> pb.ReconsiderTasksResponse:
    """Take back declines of the calling worker, and poke for their tasks; what is not declined is passed over."""
    if not 1 <= len(asked.compute_task_keys) <= MOST_AT_ONCE:
        raise BadRequestError(f"compute_task_keys: 1 to {MOST_AT_ONCE} are taken at once")
    keys = {parse_key(key, "compute_task_keys") for key in asked.compute_task_keys}
    again = declines.reconsider(transaction, keys)
    for declined in again:
        transaction.events.reconsidered(declined)
    return pb.ReconsiderTasksResponse(count=len(again))


def query(transaction: Transaction, wanted: pb.GetDeclinesParam) -> pb.GetDeclinesResponse:
    """List the tasks of the channel that are declined; of a worker, a compute plan or a task where asked."""
    found, token = declines.page(
        transaction,
        Page(wanted.page_token, wanted.page_size),
        worker=wanted.worker,
        plan=_key(wanted.compute_plan_key, "compute_plan_key"),
        task=_key(wanted.compute_task_key, "compute_task_key"),
    )
    return pb.GetDeclinesResponse(declines=found, next_page_token=token)


def _key(key: str, field: str) -> UUID | None:
    return parse_key(key, field) if key else None
