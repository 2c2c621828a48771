"""The events of problems: written with the change that they tell of."""

from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.kinds import (
    CONFIGURATION,
    ITERATION_STATUS,
    MODULE_COMMAND,
    MODULE_STATUS,
    STAGE_OUTPUT,
    STAGE_SLOW,
    STAGE_STATUS,
)
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, ids

TYPES: dict[int, type[Message]] = {
    MODULE_STATUS: pb.ModuleStatusEvent,
    STAGE_STATUS: pb.StageStatusEvent,
    STAGE_OUTPUT: pb.StageOutputEvent,
    ITERATION_STATUS: pb.IterationStatusEvent,
    STAGE_SLOW: pb.StageSlowEvent,
    MODULE_COMMAND: pb.CommandEvent,
    CONFIGURATION: pb.ConfigurationEvent,
}
"""The messages of events, by the numbers of their kinds."""

_NUMBERS = {of: number for number, of in TYPES.items()}


def stamp(message: Any, moment: datetime | None) -> None:
    """Set a time of a message, where there is one."""
    if moment is not None:
        message.FromDatetime(moment)


def tell(transaction: Transaction, key: str, event: Message) -> None:
    """Tell of something.

    Args:
        transaction: in which it happens.
        key: of what.
        event: one of `TYPES`.
    """
    transaction.events.own(pb.EVENT_ASSET_UPDATED, key, _NUMBERS[type(event)], event)


def of_task(transaction: Transaction, event: Any) -> None:
    """Tell of a task, which the event names."""
    tell(transaction, ids.key(event.deployment, event.task_id), event)


def module_key(deployment: str, kind: int, name: str) -> str:
    """Return what events call a module."""
    return f"{deployment}/{graph.KINDS[kind].name}/{name}"
