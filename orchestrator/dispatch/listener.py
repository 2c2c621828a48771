"""The one connection of a server process that listens for what other transactions have committed."""

import asyncio
from collections.abc import Mapping

import psycopg
import structlog

from orchestrator.dispatch.pump import Pump
from orchestrator.store import connecting

log = structlog.get_logger()

WRITTEN = "orchestrator_written"
"""Events or pokes were committed."""

PLACED = "orchestrator_placed"
"""Events got their place in the order of readers."""

_PAUSE = 1.0


async def listen(url: str, pumps: Mapping[str, list[Pump]], own: str = "") -> None:
    """Wake pumps whenever something is notified by others; until cancelled.

    After a connection was lost, all are woken: what happened meanwhile was not heard.

    Args:
        url: of the database.
        pumps: those to wake, by the name of the notification.
        own: the payload of those that wake nobody here, where there is such.
    """
    while True:
        try:
            async with await connecting.connect_async(url) as connection:
                for name in pumps:
                    await connection.execute(f"LISTEN {name}")
                for pump in {pump for woken in pumps.values() for pump in woken}:
                    pump.wake()
                async for notification in connection.notifies():
                    if not own or notification.payload != own:
                        for pump in pumps[notification.channel]:
                            pump.wake()
        except psycopg.Error as error:
            log.warning("listener.lost", error=str(error).partition("\n")[0], retry_in_seconds=_PAUSE)
        await asyncio.sleep(_PAUSE)
