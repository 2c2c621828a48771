"""What a call must be given before it is worked on: a place in hand, one for its message, and a thread.

A message is read only when there is a place for it: gRPC leaves it with the caller until then (RFC 9113, 5.2).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from google.protobuf.message import Message

from orchestrator.core.errors import BadRequestError, BusyError, UnavailableError
from orchestrator.rpc import metrics
from orchestrator.rpc.identity import Context
from orchestrator.rpc.sizes import parsed_size
from orchestrator.rpc.trimming import Trimming
from orchestrator.rpc.turns import InHand, Lane, Turns
from orchestrator.settings import ServerSettings

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

Result = TypeVar("Result")

# While it is received, a message is there twice: as gRPC's, and as ours.
_MOST_OF_ONE = 2 * MAX_MESSAGE_BYTES
# What takes more once it is parsed is a batch.
_LARGE = 4 * 1024 * 1024


class Admission:
    """Shares a server between organizations.

    Args:
        settings: how much of what it takes in hand.
        threads: that calls run in.
    """

    def __init__(self, settings: ServerSettings, threads: ThreadPoolExecutor) -> None:
        self._calls = {lane: InHand("calls", settings.calls_per_organization, settings.calls_in_all) for lane in Lane}
        self._subscriptions = InHand(
            "subscriptions", settings.subscriptions_per_organization, settings.subscriptions_in_all
        )
        self._messages = Turns(max(1, settings.message_bytes // _MOST_OF_ONE))
        self._message_seconds = settings.message_time
        self._parsed_bytes = settings.parsed_bytes
        self._large = Turns(1)
        self._trimming = Trimming()
        self._turns = Turns(settings.database_pool_size)
        self._threads = threads

    @contextmanager
    def call(self, organization: str, lane: Lane) -> Iterator[None]:
        """Have a call in hand as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        with _counted(self._calls[lane], organization):
            yield

    @contextmanager
    def subscription(self, organization: str) -> Iterator[None]:
        """Have a subscription in hand as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        with _counted(self._subscriptions, organization):
            yield

    @asynccontextmanager
    async def message(
        self, context: Context, organization: str, lane: Lane, request: type[Message]
    ) -> AsyncIterator[bytes]:
        """Receive the one message of a call; a large one counts as long as the block lasts.

        Args:
            context: of the call.
            organization: whose turn it is.
            lane: whose places.
            request: the type of the message.

        Raises:
            BadRequestError: the call has none, or one that takes too much memory once it is parsed.
            UnavailableError: it does not arrive in time.
        """
        async with self._messages.turn(organization, lane):
            body = await self._read(context)
            # Of 64 MiB it takes a tenth of a second to tell.
            size = (
                await asyncio.to_thread(parsed_size, request, body)
                if len(body) > _LARGE
                else parsed_size(request, body)
            )
            if size > self._parsed_bytes:
                self._trimming.soon()
                raise BadRequestError(
                    f"the request may take {size} bytes of memory, and this server takes {self._parsed_bytes}: "
                    "send what it holds in several requests"
                )
            if size > _LARGE:
                async with self._large.turn(organization, lane):
                    try:
                        yield body
                    finally:
                        self._trimming.soon()
                return
        yield body

    async def _read(self, context: Context) -> bytes:
        try:
            async with asyncio.timeout(self._message_seconds):
                body = await context.read()
        except TimeoutError as error:
            raise UnavailableError(f"the request did not arrive within {self._message_seconds:g} s") from error
        if not isinstance(body, bytes):
            raise BadRequestError("the call ended without a request")
        return body

    async def run(self, organization: str, lane: Lane, function: Callable[[], Result]) -> Result:
        """Run a function in a thread when it is the organization's turn."""
        async with self._turns.turn(organization, lane):
            work = asyncio.get_running_loop().run_in_executor(self._threads, function)
            try:
                return await asyncio.shield(work)
            finally:
                # The caller may be gone: a thread cannot be told, and holds its place to its end.
                await asyncio.wait([work])
                work.exception()
                # Its error knows this frame: together they would keep the request until they are collected.
                del work


@contextmanager
def _counted(hand: InHand, organization: str) -> Iterator[None]:
    try:
        counted = hand.one(organization)
        with counted:
            yield
    except BusyError:
        metrics.refused(organization)
        raise
