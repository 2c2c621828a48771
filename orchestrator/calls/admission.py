"""What a call must be given before it is worked on: a place in hand, one for its message, and a thread.

A message is read only when there is a place for it: until then it is left with the caller (RFC 9113, 5.2).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import TypeAlias, TypeVar

from orchestrator.calls.parts import LARGEST_PART, Kept
from orchestrator.calls.threads import Threads
from orchestrator.calls.trimming import Trimming
from orchestrator.calls.turns import InHand, Lane, Turns
from orchestrator.core.errors import BadRequestError, HeldUpError, UnavailableError
from orchestrator.core.fields import LARGEST_MESSAGE
from orchestrator.settings import ServerSettings

Receive: TypeAlias = Callable[[], Awaitable[bytes]]
"""Receives the one message of a call."""

ReceivePart: TypeAlias = Callable[[], Awaitable[bytes | None]]
"""Receives the next part of a call's request, None after the last."""

Renew: TypeAlias = Callable[[], Awaitable[None]]
"""Lets a caller in again who was let in a while ago, or raises."""

Result = TypeVar("Result")

# While it is received, a message is there twice: as the library's, and as ours.
_MOST_OF_ONE = 2 * LARGEST_MESSAGE
# What takes more once it is parsed is a batch.
_LARGE = 4 * 1024 * 1024
# Each has a file.
_PARTED_OF_ONE = 8
_PARTED_IN_ALL = 64


class Admission:
    """Shares a server between organizations.

    Args:
        settings: how much of what it takes in hand.
        threads: that calls run in.
    """

    def __init__(self, settings: ServerSettings, threads: Threads) -> None:
        self._calls = {lane: InHand("calls", settings.calls_per_organization, settings.calls_in_all) for lane in Lane}
        self._subscriptions = InHand(
            "subscriptions", settings.subscriptions_per_organization, settings.subscriptions_in_all
        )
        self._submissions = InHand("requests in parts", _PARTED_OF_ONE, _PARTED_IN_ALL)
        self._submission_bytes = settings.submission_bytes
        self._messages = Turns(max(1, settings.message_bytes // _MOST_OF_ONE))
        self._message_seconds = settings.message_time
        self._parsed_bytes = settings.parsed_bytes
        self._large = Turns(1)
        self._trimming = Trimming()
        self._turns = Turns(settings.database_pool_size)
        self._held_up = Turns(max(1, settings.database_pool_size // 4))
        self._threads = threads

    def call(self, organization: str, lane: Lane) -> AbstractContextManager[None]:
        """Have a call in hand as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        return self._calls[lane].one(organization)

    def subscription(self, organization: str) -> AbstractContextManager[None]:
        """Have a subscription in hand as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        return self._subscriptions.one(organization)

    async def message(
        self,
        receive: Receive,
        organization: str,
        lane: Lane,
        size_of: Callable[[bytes], int],
        work: Callable[[bytes], Awaitable[Result]],
    ) -> Result:
        """Receive the one message of a call and work on it; a large one counts until that is done.

        Args:
            receive: receives it.
            organization: whose turn it is.
            lane: whose places.
            size_of: tells how many bytes of memory it takes once it is parsed, at most.
            work: is done with it.

        Raises:
            BadRequestError: it takes too much memory once it is parsed.
            UnavailableError: it does not arrive in time.
        """
        async with self._messages.turn(organization, lane):
            body = await self._received(receive)
            # Of 64 MiB it takes a tenth of a second to tell.
            size = await asyncio.to_thread(size_of, body) if len(body) > _LARGE else size_of(body)
            if size > self._parsed_bytes:
                self._trimming.soon()
                raise BadRequestError(
                    f"the request may take {size} bytes of memory, and this server takes {self._parsed_bytes}: "
                    "send what it holds in several requests"
                )
            if size > _LARGE:
                async with self.large(organization, lane):
                    return await work(body)
        return await work(body)

    @asynccontextmanager
    async def large(self, organization: str, lane: Lane) -> AsyncIterator[None]:
        """Wait until nothing else is worked on that takes much memory; it is given back after the block."""
        async with self._large.turn(organization, lane):
            try:
                yield
            finally:
                self._trimming.soon()

    @asynccontextmanager
    async def parts(
        self, receive: ReceivePart, organization: str, lane: Lane, size_of: Callable[[bytes], int]
    ) -> AsyncIterator[Kept]:
        """Receive all parts of a call's request; many count as a large one as long as the block lasts.

        While they arrive they take no place of others: what has come waits in a file.

        Args:
            receive: receives the next.
            organization: whose turn it is.
            lane: whose places.
            size_of: tells how many bytes of memory a part takes once it is parsed, at most.

        Raises:
            BadRequestError: a part, or all of them, are too large.
            BusyError: too many such requests are in hand.
            UnavailableError: a part does not arrive in time.
        """
        with self._submissions.one(organization), Kept() as kept:
            while (part := await self._part(receive, organization, lane)) is not None:
                if len(part) > LARGEST_PART or size_of(part) > self._parsed_bytes:
                    raise BadRequestError(f"a part of the request has {len(part)} bytes, and may have {LARGEST_PART}")
                if kept.bytes + len(part) > self._submission_bytes:
                    raise BadRequestError(
                        f"the request has more than {self._submission_bytes} bytes, the most that this server takes"
                    )
                await asyncio.to_thread(kept.add, part)
            if kept.bytes <= _LARGE:
                yield kept
                return
            async with self.large(organization, lane):
                yield kept

    async def _part(self, receive: ReceivePart, organization: str, lane: Lane) -> bytes | None:
        async with self._messages.turn(organization, lane):
            return await self._received(receive)

    async def _received(self, receive: Callable[[], Awaitable[Result]]) -> Result:
        try:
            async with asyncio.timeout(self._message_seconds):
                return await receive()
        except TimeoutError as error:
            raise UnavailableError(f"the request did not arrive within {self._message_seconds:g} s") from error

    async def run(
        self, organization: str, lane: Lane, function: Callable[[], Result], renew: Renew | None = None
    ) -> Result:
        """Run a function in a thread when it is the organization's turn.

        One that is held up by what others have locked is run again until it is not. Those are few at a time: else they
        would hold all places, and nobody's call would go on until what they wait for is over.

        Args:
            organization: whose turn it is.
            lane: whose places.
            function: raises HeldUpError where it is held up, and has done nothing.
            renew: asked before each run; what it raises is raised.
        """
        if renew is not None:
            await renew()
        with suppress(HeldUpError):
            return await self.once(organization, lane, function)
        while True:
            async with self._held_up.turn(organization, lane):
                if renew is not None:
                    await renew()
                with suppress(HeldUpError):
                    return await self.once(organization, lane, function)

    async def once(self, organization: str, lane: Lane, function: Callable[[], Result]) -> Result:
        """Run a function in a thread when it is the organization's turn, though it may be held up."""
        async with self._turns.turn(organization, lane):
            return await self._threads.run(function)
