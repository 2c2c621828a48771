"""The stream of a channel's events: from an event that the subscriber names, those to come included."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestrator import protos as pb
from orchestrator.calls.call import Flow
from orchestrator.core.headers import FORGOTTEN_UNTIL
from orchestrator.engine.transaction import Transaction
from orchestrator.trace import reading

_UNPLACED_PAUSE = 0.5


async def subscribe(flow: Flow, asked: pb.SubscribeToEventsParam) -> AsyncGenerator[bytes, None]:
    """Yield the channel's events, serialized, after the one that was named."""
    begun = await _begin(flow, asked.start_event_id)
    if begun.forgotten_until:
        await flow.head(FORGOTTEN_UNTIL, begun.forgotten_until.isoformat())
    following = flow.events.follow(flow.caller.channel, begun.position, begun.id, flow.check)
    async with aclosing(following) as events:
        async for event in events:
            yield event


async def _begin(flow: Flow, event_id: str) -> reading.Subscription:
    def begin(transaction: Transaction) -> reading.Subscription | None:
        return reading.subscribe(transaction, event_id)

    while (begun := await flow.run(begin)) is None:
        await flow.events.changed(_UNPLACED_PAUSE)
    return begun
