"""The events of a task whose kinds are our own: its profiling steps, and what was declined."""

from orchestrator import protos as pb
from orchestrator.core.fields import parse_key
from orchestrator.engine import kinds, tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page
from orchestrator.trace import events


def query(transaction: Transaction, wanted: pb.GetTaskEventsParam) -> pb.GetTaskEventsResponse:
    """List the events of our own kinds of a task, by time, then id."""
    key = parse_key(wanted.compute_task_key, "compute_task_key")
    tasks.get(transaction, key)
    found, token = events.of_task(
        transaction.connection, transaction.channel, str(key), Page(wanted.page_token, wanted.page_size), kinds.own_type
    )
    return pb.GetTaskEventsResponse(events=found, next_page_token=token)
