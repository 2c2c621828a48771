"""The listener: it wakes the pumps at every commit, and misses nothing when its connection is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg

from orchestrator.dispatch.listener import PLACED, WRITTEN, listen
from orchestrator.dispatch.pump import Pump
from orchestrator.dispatch.sequencer import Sequencer
from orchestrator.engine.transaction import Database
from tests.kit.database import tell
from tests.kit.waiting import wait_until

NEVER = 3600.0
LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %' AND state = 'idle'"
)


def query(database: Database, statement: str) -> list[int]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(statement).fetchall()]


async def holds(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def pumping(database: Database) -> AsyncIterator[None]:
    """Sequence on notifications alone: no poll would come in time."""
    sequencer, placed = Pump("sequencer", Sequencer(database).step, NEVER), Pump("placed", nothing, NEVER)
    pumps = {WRITTEN: [sequencer], PLACED: [placed]}
    tasks = [asyncio.create_task(run) for run in (sequencer.run(), placed.run(), listen(database.url, pumps))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def nothing() -> int:
    return 0


def write(database: Database, name: str) -> None:
    database.run("org-1", "ours", lambda transaction: tell(transaction, name))


def test_a_commit_wakes_the_sequencer_and_a_lost_connection_is_made_again(database: Database):
    async def placed(amount: int) -> bool:
        counted = "SELECT count(*) FROM places"
        return await asyncio.to_thread(query, database, counted) == [amount]

    async def listens() -> bool:
        return len(await asyncio.to_thread(query, database, LISTENERS)) == 1

    async def scenario() -> None:
        async with pumping(database):
            await holds(listens)
            await asyncio.to_thread(write, database, "a")
            await holds(lambda: placed(1))
            for turn in range(2):
                (pid,) = query(database, LISTENERS)
                assert query(database, f"SELECT pg_terminate_backend({pid})") == [True]
                await asyncio.to_thread(write, database, f"while nobody listens {turn}")
                await holds(lambda turn=turn: placed(2 + 2 * turn))
                await holds(listens)
                assert query(database, LISTENERS) != [pid]
                await asyncio.to_thread(write, database, f"heard again {turn}")
                await holds(lambda turn=turn: placed(3 + 2 * turn))

    asyncio.run(scenario())
    wait_until(lambda: query(database, LISTENERS) == [], message="the last listener's connection to be gone")


def test_what_a_process_has_notified_itself_wakes_its_pumps_no_second_time(database: Database):
    heard: list[str] = []

    async def scenario() -> None:
        sequencer, pump = Sequencer(database), Pump("placed", nothing, NEVER)
        pump.wake = lambda: heard.append("woken")  # type: ignore[method-assign]
        listening = asyncio.create_task(listen(database.url, {PLACED: [pump]}, sequencer.name))
        await holds(lambda: asyncio.to_thread(lambda: len(query(database, LISTENERS)) == 1))
        heard.clear()
        for expected, notifier in enumerate((sequencer, Sequencer(database), sequencer, Sequencer(database))):
            await asyncio.to_thread(write, database, str(expected))
            await notifier.step()
            # What was notified before has come by the time that what came after it is heard.
            await holds(lambda expected=expected: asyncio.sleep(0, len(heard) == (expected + 1) // 2))
        assert len(heard) == 2
        listening.cancel()

    asyncio.run(scenario())
