"""How far each stream is: noted for all at once, and never more than was sent."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from orchestrator.core.errors import NotFoundError
from orchestrator.dispatch.cursors import Cursors
from orchestrator.dispatch.feed import Feed
from orchestrator.dispatch.sequencer import Sequencer
from orchestrator.engine.transaction import Database
from orchestrator.trace import forgotten, reading
from tests.integration.counted import counting
from tests.integration.dispatch.test_feed import catch_up, key_of, write


@pytest.fixture(autouse=True)
def _no_streams(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE subscriptions, forgotten"))


def begin(database: Database, channel: str) -> reading.Subscription:
    return database.run("org-1", channel, lambda transaction: reading.subscribe(transaction, ""))


def noted(database: Database) -> dict[UUID, int]:
    with database.engine.begin() as connection:
        return {row.id: row.position for row in connection.execute(text("SELECT id, position FROM subscriptions"))}


class Scene:
    """A feed of a database, and what a server does for it."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.database = database
        self.feed = Feed(database, **{"batch": 3, **options})
        self.cursors = Cursors(database, self.feed)
        self._sequencer = Sequencer(database)

    async def write(self, channel: str, amount: int) -> None:
        await asyncio.to_thread(write, self.database, channel, [str(number) for number in range(amount)])
        await self._sequencer.step()
        await catch_up(self.feed)

    async def follow(self, channel: str) -> tuple[UUID, Any]:
        begun = await asyncio.to_thread(begin, self.database, channel)
        return begun.id, self.feed.follow(channel, begun.position, begun.id)

    async def position(self, stream: UUID) -> int:
        await self.cursors.step()
        return (await asyncio.to_thread(noted, self.database))[stream]


async def take(stream: Any, amount: int) -> None:
    for _ in range(amount):
        await asyncio.wait_for(anext(stream), 60)


async def waiting(stream: Any) -> "asyncio.Task[bytes]":
    """Let a stream go on until it has nothing more to tell."""
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    return task


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.001)


def test_a_stream_is_as_far_as_it_was_sent(database: Database):
    async def scenario() -> None:
        scene = Scene(database)
        await asyncio.to_thread(scene.feed.begin)
        await scene.write("ours", 7)
        identity, stream = await scene.follow("ours")
        assert await scene.position(identity) == 0
        for count in range(1, 8):
            await take(stream, 1)
            # The last one is on its way until the next is asked for.
            assert await scene.position(identity) == count - 1
        await stream.aclose()
        assert await scene.position(identity) == 6
        await scene.write("ours", 1)
        assert await scene.position(identity) == 6

    asyncio.run(scenario())


def test_a_stream_of_a_quiet_channel_goes_on_with_the_others(database: Database):
    async def scenario() -> None:
        scene = Scene(database, kept=5)
        await scene.write("quiet", 1)
        await asyncio.to_thread(scene.feed.begin)
        identity, stream = await scene.follow("quiet")
        await take(stream, 1)
        resting = await waiting(stream)
        for _ in range(3):
            await scene.write("busy", 20)

        async def is_there() -> bool:
            return await scene.position(identity) == 61

        await until(is_there)
        await scene.write("quiet", 1)
        await asyncio.wait_for(resting, 60)
        assert await scene.position(identity) == 61
        await stream.aclose()

    asyncio.run(scenario())


def test_a_stream_that_does_not_read_stays_where_it_is(database: Database):
    async def scenario() -> None:
        scene = Scene(database, kept=4)
        await asyncio.to_thread(scene.feed.begin)
        await scene.write("ours", 2)
        identity, stream = await scene.follow("ours")
        await take(stream, 2)
        for channel in ("ours", "busy", "ours"):
            await scene.write(channel, 20)
            assert await scene.position(identity) == 1
        await take(stream, 40)
        assert await scene.position(identity) == 61
        await stream.aclose()

    asyncio.run(scenario())


def test_a_thousand_streams_are_noted_in_one_statement(database: Database):
    async def scenario() -> None:
        scene = Scene(database)
        await asyncio.to_thread(scene.feed.begin)
        await scene.write("ours", 2)
        streams = [await scene.follow("ours") for _ in range(1000)]
        for _, stream in streams:
            await take(stream, 2)
        with counting() as statements:
            await scene.cursors.step()
        assert len(statements) == 1
        assert set((await asyncio.to_thread(noted, database)).values()) == {1}
        for _, stream in streams:
            await stream.aclose()

    asyncio.run(scenario())


def test_a_note_says_when(database: Database):
    async def scenario() -> None:
        scene = Scene(database)
        identity, stream = await scene.follow("ours")
        resting = await waiting(stream)
        old = "UPDATE subscriptions SET seen_at = seen_at - interval '1 day'"
        with database.engine.begin() as connection:
            connection.execute(text(old))
        await scene.cursors.step()
        resting.cancel()
        await asyncio.wait([resting])
        assert await scene.position(identity) == 0

    asyncio.run(scenario())
    with database.engine.begin() as connection:
        seen = connection.execute(text("SELECT seen_at FROM subscriptions")).scalar_one()
    assert abs(datetime.now(UTC) - seen) < timedelta(minutes=5)


def forget(database: Database, position: int) -> None:
    """Forget events as when nobody needs them."""
    with database.engine.begin() as connection:
        forgotten.note(connection, forgotten.ends(connection, forgotten.Part(forgotten.last(connection), position)))
        connection.execute(
            text("DELETE FROM events USING places WHERE event = id AND position <= :position"), {"position": position}
        )


def test_a_stream_whose_events_were_forgotten_ends_and_says_so(database: Database):
    """It was held up for longer than a subscriber that is away is waited for."""

    async def scenario() -> None:
        scene = Scene(database, kept=4)
        await scene.write("ours", 20)
        await asyncio.to_thread(scene.feed.begin)
        _, stream = await scene.follow("ours")
        await take(stream, 3)
        await asyncio.to_thread(forget, database, 10)
        with pytest.raises(NotFoundError, match=r"forgotten, .*: subscribe again"):
            # A batch may have been read ahead, while its events were there.
            await take(stream, 4)

    asyncio.run(scenario())


def test_a_stream_beyond_what_was_forgotten_hears_all(database: Database):
    async def scenario() -> None:
        scene = Scene(database, kept=4)
        await scene.write("ours", 20)
        await scene.write("theirs", 5)
        await asyncio.to_thread(forget, database, 10)
        await asyncio.to_thread(scene.feed.begin)
        await scene.write("ours", 20)
        begun = await asyncio.to_thread(begin, database, "ours")
        assert begun.position == 10
        heard = []
        async for message in scene.feed.follow("ours", begun.position, uuid4()):
            heard.append(key_of(message))
            if len(heard) == 30:
                break
        assert heard == [*map(str, range(10, 20)), *map(str, range(20))]

    asyncio.run(scenario())


def test_channels_that_were_forgotten_whole_go_on(database: Database):
    async def scenario() -> None:
        scene = Scene(database)
        await scene.write("ours", 3)
        await scene.write("theirs", 1)
        await asyncio.to_thread(forget, database, 3)
        await asyncio.to_thread(scene.feed.begin)
        _, stream = await scene.follow("ours")
        resting = await waiting(stream)
        await scene.write("ours", 1)
        assert key_of(await asyncio.wait_for(resting, 60)) == "0"
        await stream.aclose()

    asyncio.run(scenario())
