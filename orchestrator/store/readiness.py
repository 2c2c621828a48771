"""Whether the database does what calls need: it answers, soon, may be written, and has the tables of this release."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg

from orchestrator.core.errors import UnavailableError
from orchestrator.store import connecting

_WRITABLE = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"
_SCHEMA = "SELECT version_num, (SELECT serves_from FROM compatibility) FROM alembic_version"

Judge = Callable[[str, str | None], None]
"""Is told the revision of the tables, and from which revision of code on they serve; raises UnavailableError."""


class Probe:
    """Asks, on a connection of its own, so that neither busy nor stale ones of others answer for the database.

    However many ask at once, and however long the answer takes, there is one question under way.

    Args:
        url: of the database.
        seconds: how long an answer may take.
        judge: says whether this release runs on the tables.
    """

    def __init__(self, url: str, seconds: float = 2.0, judge: Judge | None = None) -> None:
        self._url = url
        self._judge = judge
        self._seconds = seconds
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Ask, or wait for the answer to what is being asked.

        Raises:
            UnavailableError: calls would fail now; the message says why.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            # Nobody may be left who wants to know.
            self._asking.add_done_callback(lambda asked: asked.exception())
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=self._seconds)
        if not done:
            if self._connection is not None:
                connecting.cut(self._connection)
            raise UnavailableError(f"the database has not answered for {self._seconds:g} s")
        asking.result()

    async def _ask(self) -> None:
        try:
            if self._connection is None:
                self._connection = await connecting.connect_async(self._url)
            row = await (await self._connection.execute(_WRITABLE)).fetchone()
            tables = await (await self._connection.execute(_SCHEMA)).fetchone() if self._judge else None
        except psycopg.Error as error:
            await self._drop()
            raise UnavailableError("the database cannot be reached") from error
        if row != (True,):
            # The next one may lead to the new primary.
            await self._drop()
            raise UnavailableError("the database is read-only: it is being switched over, or is a replica")
        if self._judge and tables is not None:
            self._judge(*tables)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """End the question that is under way, and the connection."""
        if self._asking is not None:
            if self._connection is not None:
                connecting.cut(self._connection)
            await asyncio.wait({self._asking})
        await self._drop()
