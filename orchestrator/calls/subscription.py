"""The stream of a channel's events: from an event that the subscriber names, those to come included."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing

from orchestrator import protos as pb
from orchestrator.calls.call import Flow
from orchestrator.core import wire
from orchestrator.core.headers import FORGOTTEN_UNTIL
from orchestrator.engine.transaction import Transaction
from orchestrator.trace import reading

_UNPLACED_PAUSE = 0.5


_BATCH_BYTES = 1024 * 1024
_EVENTS = pb.EventBatch.DESCRIPTOR.fields_by_name["events"].number


async def subscribe(flow: Flow, asked: pb.SubscribeToEventsParam) -> AsyncGenerator[bytes, None]:
    """Yield the channel's events, serialized, after the one that was named."""
    begun = await _begin(flow, asked.start_event_id)
    following = flow.events.follow(flow.caller.channel, begun.position, begun.id, flow.check)
    async with aclosing(following) as events:
        async for event in events:
            yield event


async def subscribe_in_batches(flow: Flow, asked: pb.SubscribeToEventBatchesParam) -> AsyncGenerator[bytes, None]:
    """Yield the same, many events in a message."""
    begun = await _begin(flow, asked.start_event_id)
    following = flow.events.follow_batches(flow.caller.channel, begun.position, begun.id, flow.check)
    async with aclosing(following) as batches:
        async for batch in batches:
            for message in batched(batch):
                flow.check()
                yield message


def batched(events: Iterable[bytes], most: int = _BATCH_BYTES) -> Iterator[bytes]:
    """Yield events as messages of type `EventBatch`, serialized as they are.

    Args:
        events: serialized.
        most: bytes of a message, but for one event that is larger.
    """
    parts: list[bytes] = []
    size = 0
    for event in events:
        part = wire.field(_EVENTS, event)
        if parts and size + len(part) > most:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield b"".join(parts)


async def _begin(flow: Flow, event_id: str) -> reading.Subscription:
    def begin(transaction: Transaction) -> reading.Subscription | None:
        return reading.subscribe(transaction, event_id)

    while (begun := await flow.run(begin)) is None:
        await flow.events.changed(_UNPLACED_PAUSE)
    if begun.forgotten_until:
        await flow.head(FORGOTTEN_UNTIL, begun.forgotten_until.isoformat())
    return begun
