"""The feed: subscribers begin anywhere, catch up from the database, and join the live window without gap or repeat."""

import asyncio
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.calls.admission import Admission
from orchestrator.calls.call import Flow
from orchestrator.calls.gate import Caller
from orchestrator.calls.subscription import subscribe_in_batches
from orchestrator.calls.threads import Threads
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.dispatch.feed import ClosedError, Feed
from orchestrator.dispatch.sequencer import Sequencer
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.settings import ServerSettings
from orchestrator.trace import places
from tests.kit.database import forget_events, tell

CHANNELS = ("ours", "theirs")


def write(database: Database, channel: str, names: list[str]) -> None:
    database.run("org-1", channel, lambda transaction: tell(transaction, *names))


def write_large(database: Database, channel: str, name: str, size: int) -> None:
    """Write an event of so many bytes."""

    def use_case(transaction: Transaction) -> None:
        transaction.events.created(name, pb.ComputePlan(key=name, tag="x" * size))

    database.run("org-1", channel, use_case)


def truth(database: Database, channel: str, position: int = 0) -> list[Any]:
    with database.engine.begin() as connection:
        return places.read_after(connection, position, 10_000, [channel])


def key_of(message: bytes) -> str:
    return pb.Event.FromString(message).asset_key


async def catch_up(feed: Feed) -> None:
    while await feed.step():
        pass


class Subscriber:
    """Follows a channel in a task of its own, and stops to read whenever it is told to."""

    def __init__(self, feed: Feed, channel: str, position: int, *, batches: bool = False) -> None:
        self.channel = channel
        self.start = position
        self.heard: list[bytes] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._feed = feed
        self.task = asyncio.create_task(self._follow_batches() if batches else self._follow())

    async def _follow(self) -> None:
        async for event in self._feed.follow(self.channel, self.start):
            await self.reads.wait()
            self.heard.append(event)

    async def _follow_batches(self) -> None:
        async for events in self._feed.follow_batches(self.channel, self.start):
            await self.reads.wait()
            self.heard.extend(events)

    async def hears(self, amount: int) -> None:
        async with asyncio.timeout(60):
            while len(self.heard) < amount and not self.task.done():
                await asyncio.sleep(0.001)


async def end(feed: Feed, subscribers: list[Subscriber]) -> None:
    await feed.close()
    for subscriber in subscribers:
        subscriber.reads.set()
        with pytest.raises(ClosedError):
            await asyncio.wait_for(subscriber.task, 60)


bursts = st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(1, 12)), max_size=8)


@given(
    before=bursts,
    while_stopped=bursts,
    live=bursts,
    kept=st.integers(1, 6),
    batch=st.integers(1, 5),
    starts=st.lists(
        st.tuples(st.sampled_from(CHANNELS), st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=5
    ),
)
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_subscriber_joins_the_window_wherever_it_comes_from(
    database: Database,
    before: list[tuple[str, int]],
    while_stopped: list[tuple[str, int]],
    live: list[tuple[str, int]],
    kept: int,
    batch: int,
    starts: list[tuple[str, float, bool, bool]],
):
    forget_events(database)
    numbers = count()

    async def scenario() -> None:
        feed, sequencer = Feed(database, batch, kept), Sequencer(database)

        async def burst(channel: str, amount: int) -> None:
            await asyncio.to_thread(write, database, channel, [str(next(numbers)) for _ in range(amount)])
            await sequencer.step()

        for channel, amount in before:
            await burst(channel, amount)
        await asyncio.to_thread(feed.begin)
        for channel, amount in while_stopped:
            await burst(channel, amount)
        with database.engine.begin() as connection:
            last = places.last_position(connection)
        subscribers = [
            Subscriber(feed, channel, round(where * last), batches=batches) for channel, where, _, batches in starts
        ]
        for subscriber, (_, _, pauses, _) in zip(subscribers, starts, strict=True):
            if pauses:
                subscriber.reads.clear()
        for channel, amount in live:
            await burst(channel, amount)
            await feed.step()
        await catch_up(feed)
        for subscriber in subscribers:
            subscriber.reads.set()
        for subscriber in subscribers:
            expected = truth(database, subscriber.channel, subscriber.start)
            await subscriber.hears(len(expected))
        # What comes last is heard last, so nothing is repeated after it.
        for channel in CHANNELS:
            await burst(channel, 1)
        await catch_up(feed)
        for subscriber in subscribers:
            expected = truth(database, subscriber.channel, subscriber.start)
            await subscriber.hears(len(expected))
            assert subscriber.heard == [event.message for event in expected]
        await end(feed, subscribers)

    asyncio.run(scenario())


def test_a_slow_subscriber_slows_nobody_and_loses_nothing(database: Database):
    async def scenario() -> None:
        feed, sequencer = Feed(database, batch=3, kept=5), Sequencer(database)
        await asyncio.to_thread(feed.begin)
        slow, quick = Subscriber(feed, "ours", 0), Subscriber(feed, "ours", 0)
        slow.reads.clear()
        for number in range(60):
            await asyncio.to_thread(write, database, "ours", [str(number)])
            await sequencer.step()
            await feed.step()
            await quick.hears(number + 1)
            assert len(quick.heard) == number + 1
        assert slow.heard == []
        slow.reads.set()
        await slow.hears(60)
        assert slow.heard == quick.heard == [event.message for event in truth(database, "ours")]
        await end(feed, [slow, quick])

    asyncio.run(scenario())


def test_large_events_leave_the_window_early_and_none_is_lost(database: Database):
    """An event larger than the whole window wakes a subscriber that waits, too."""

    async def scenario() -> None:
        feed, sequencer = Feed(database, batch=100), Sequencer(database)
        await asyncio.to_thread(feed.begin)
        subscribers = [Subscriber(feed, "ours", 0), Subscriber(feed, "ours", 0)]
        sizes = [5, *[3 * 2**20] * 8, 20 * 2**20, 5]
        for number, size in enumerate(sizes):
            await asyncio.to_thread(write_large, database, "ours", str(number), size)
            await sequencer.step()
            await feed.step()
            for subscriber in subscribers:
                await subscriber.hears(number + 1)
                assert [key_of(message) for message in subscriber.heard] == list(map(str, range(number + 1)))
        late = Subscriber(feed, "ours", 0)
        await late.hears(len(sizes))
        assert late.heard == subscribers[0].heard
        await end(feed, [*subscribers, late])

    asyncio.run(scenario())


def test_one_read_is_bounded_by_size_and_never_empty_before_the_end(database: Database):
    sizes = [3 * 2**20, 3 * 2**20, 9 * 2**20, 1, 1]
    for number, size in enumerate(sizes):
        write_large(database, "ours", str(number), size)
        write(database, "theirs", [f"other {number}"])
    with database.engine.begin() as connection:
        places.place(connection, 100)
    position, reads = 0, []
    while batch := truth(database, "ours", position):
        reads.append(len(batch))
        position = batch[-1].position
    assert sum(reads) == len(sizes)
    assert reads == [2, 1, 2]


def test_who_may_not_go_on_gets_no_further_message_of_a_batch(database: Database, tmp_path: Path):
    for number in range(3):
        write_large(database, "ours", str(number), 2**20)
    channels, left = tmp_path / "channels.yaml", list[str]()
    channels.write_text("channels:\n  ours: [org-1]\n")

    def check() -> None:
        if left:
            raise PermissionDeniedError("it left")

    async def head(_: str, __: str) -> None:
        """There is nothing to tell."""

    async def scenario() -> None:
        feed = Feed(database, batch=100)
        await asyncio.to_thread(feed.begin)
        await Sequencer(database).step()
        await catch_up(feed)
        with Threads(2, "call") as threads:
            admission = Admission(ServerSettings(database_url=database.url, channel_config=channels), threads)
            flow = Flow(Caller("org-1", "ours", None), feed, check, head, admission, database)
            async with aclosing(subscribe_in_batches(flow, pb.SubscribeToEventBatchesParam())) as messages:
                assert [event.asset_key for event in pb.EventBatch.FromString(await anext(messages)).events] == ["0"]
                left.append("org-1")
                with pytest.raises(PermissionDeniedError):
                    await anext(messages)
        await feed.close()

    asyncio.run(scenario())
