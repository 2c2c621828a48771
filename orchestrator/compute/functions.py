"""Functions: programs in archives, built by their owner."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import select

from orchestrator import protos as pb
from orchestrator.compute import organizations, plans, validation
from orchestrator.compute.assets import functions
from orchestrator.compute.ownership import check_owner
from orchestrator.core import permissions, states
from orchestrator.core.errors import BadRequestError, InvalidAssetError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import kinds, transitions
from orchestrator.engine import plans as latches
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables
from orchestrator.store.pages import Page

_FOLLOWED = {
    pb.FUNCTION_STATUS_BUILDING: (pb.STATUS_WAITING_FOR_BUILDER_SLOT, pb.STATUS_BUILDING),
    pb.FUNCTION_STATUS_READY: (pb.STATUS_BUILDING, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
    pb.FUNCTION_STATUS_CANCELED: (pb.STATUS_BUILDING, pb.STATUS_CANCELED),
    pb.FUNCTION_STATUS_FAILED: (pb.STATUS_BUILDING, pb.STATUS_FAILED),
}


def register(transaction: Transaction, new: pb.NewFunction) -> pb.Function:
    """Register a function of the caller, whose worker is asked to build it."""
    validation.check_function(new)
    members = organizations.names(transaction)
    function = pb.Function(
        key=new.key.lower(),
        name=new.name,
        description=new.description,
        archive=new.archive,
        permissions=permissions.grant_both(new.new_permissions, transaction.organization, members),
        owner=transaction.organization,
        creation_date=timestamp(transaction.now),
        metadata=new.metadata,
        inputs=new.inputs,
        outputs=new.outputs,
        status=pb.FUNCTION_STATUS_WAITING,
        image=pb.Addressable(),
    )
    functions.insert(transaction, function, status=function.status, poked_at=transaction.now)
    transaction.events.created(function.key, function)
    transaction.pokes.build(function.owner, UUID(function.key))
    return function


def get(transaction: Transaction, wanted: pb.GetFunctionParam) -> pb.Function:
    """Return a function."""
    return functions.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryFunctionsParam) -> pb.QueryFunctionsResponse:
    """List functions, those that the tasks of a compute plan use where asked."""
    conditions = []
    if wanted.filter.compute_plan_key:
        plan = parse_key(wanted.filter.compute_plan_key, "filter.compute_plan_key")
        used = select(tables.tasks.c.requires).where(tables.tasks.c.plan_key == plan)
        conditions.append(tables.functions.c.key.in_(used))
    found, token = functions.list(transaction, Page(wanted.page_token, wanted.page_size), *conditions)
    return pb.QueryFunctionsResponse(Functions=found, next_page_token=token)


def update(transaction: Transaction, change: pb.UpdateFunctionParam) -> pb.UpdateFunctionResponse:
    """Rename a function of the caller, and set its image where one is given."""
    key = parse_key(change.key)
    validation.check_name(change.name)
    validation.check_image(change.image)
    function = functions.get(transaction, key, lock=True)
    check_owner(transaction, "function", function)
    function.name = change.name
    if change.HasField("image"):
        function.image.CopyFrom(change.image)
    if function.status == pb.FUNCTION_STATUS_READY and not function.image.checksum:
        raise InvalidAssetError(f"image: function {key} is ready, so it needs an image with a checksum")
    functions.save(transaction, function)
    transaction.events.updated(function.key, function)
    return pb.UpdateFunctionResponse()


def apply_action(transaction: Transaction, asked: pb.ApplyFunctionActionParam) -> pb.ApplyFunctionActionResponse:
    """Move a function of the caller to another state, and its tasks with it."""
    key = parse_key(asked.function_key, "function_key")
    if asked.action not in states.FUNCTION_ACTION_STATUS:
        raise BadRequestError("action: unknown; BUILDING, CANCELED, FAILED or READY is expected")
    function = functions.get(transaction, key, lock=True)
    check_owner(transaction, "function", function)
    move(transaction, function, states.FUNCTION_ACTION_STATUS[asked.action])
    return pb.ApplyFunctionActionResponse()


def move(
    transaction: Transaction,
    function: pb.Function,
    target: states.FunctionStatus,
    register: Callable[[], object] | None = None,
) -> None:
    """Move a function to another state, and its tasks with it.

    Args:
        transaction: that has locked it, and has told nothing yet.
        function: which one.
        target: the state.
        register: registers why, before the events of the move are told.

    Raises:
        IncompatibleStatusError: the state machine does not allow it.
    """
    states.check_function_transition(function.key, function.status, target)
    key = UUID(function.key)
    source, goal = _FOLLOWED[target]
    if goal in states.TERMINAL:
        latches.hold(transaction, transitions.plans_building(transaction, key))
    followed = transitions.follow(transaction, key, source, goal)
    if register:
        register()
    function.status = target
    functions.save(transaction, function, status=target)
    transaction.events.updated(function.key, function)
    for task in followed:
        kinds.tell(transaction, task, f"function {key} is {states.FUNCTION_WORDS[target]}")
        if task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
            kinds.poke(transaction, task)
    if goal == pb.STATUS_FAILED:
        for plan in dict.fromkeys(task.plan for task in followed):
            plans.fail(transaction, plan)
