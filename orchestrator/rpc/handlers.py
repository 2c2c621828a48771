"""What every call passes through: identity, parsing, one transaction in a thread, and errors as statuses."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Any, NoReturn, Protocol
from uuid import UUID

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from orchestrator import protos as pb
from orchestrator.core import crash
from orchestrator.core.errors import (
    BadRequestError,
    ClosedError,
    InternalError,
    OrchestratorError,
    UnavailableError,
    UnimplementedError,
)
from orchestrator.core.history import FORGOTTEN_UNTIL
from orchestrator.rpc import metrics
from orchestrator.rpc.identity import Caller, Context, Gate
from orchestrator.rpc.loss import Loss
from orchestrator.rpc.methods import UseCase
from orchestrator.rpc.status import status_of
from orchestrator.services import events

log = structlog.get_logger()

_UNPLACED_PAUSE = 0.5
_MOST_DETAILS = 1000


class Transactions(Protocol):
    """Runs use cases, each in a transaction of its own."""

    def run(self, organization: str, channel: str, use_case: Callable[[Any], Any]) -> Any:
        """Run a use case for an organization in a channel."""


class Events(Protocol):
    """Follows the order of events."""

    def follow(
        self, channel: str, position: int, subscription: UUID, check: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """Yield a channel's serialized events after a position, for ever, or until the check raises."""

    async def changed(self, timeout: float) -> None:
        """Wait for new events, for some seconds at most."""


class Handlers:
    """Makes the handlers of methods.

    Args:
        gate: lets callers in.
        database: where use cases run.
        feed: what subscribers follow.
        threads: in which use cases run.
    """

    def __init__(self, gate: Gate, database: Transactions, feed: Events, threads: ThreadPoolExecutor) -> None:
        self._gate = gate
        self._database = database
        self._feed = feed
        self._threads = threads
        self._loss = Loss()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def finish(self) -> None:
        """Refuse new calls from now on, and wait until none is open, and no subscription."""
        self._closed = True
        await self._idle.wait()

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    def unary(
        self, method: str, request_type: type[Message], use_case: UseCase | None
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of a method that answers once; without a use case it is not implemented."""

        async def answer(body: bytes, context: Context) -> bytes:
            if self._closed:
                raise ClosedError
            caller = self._gate.identify(context)
            if use_case is None:
                raise UnimplementedError(f"{method} is not implemented by this server")
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._run, method, use_case, request_type, body, caller
            )

        async def handle(body: bytes, context: Context) -> bytes:
            started = time.perf_counter()
            try:
                with self._call():
                    try:
                        return await answer(body, context)
                    except Exception as error:
                        await _abort(context, method, error)
            finally:
                metrics.observe(method, context.code(), time.perf_counter() - started)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _run(self, method: str, use_case: UseCase, request_type: type[Message], body: bytes, caller: Caller) -> bytes:
        request = _parse(request_type, body)

        def use(transaction: Any) -> Any:
            transaction.certificate_ends = caller.certificate_ends
            response = use_case(transaction, request)
            crash.point(f"server.before_commit.{method}")
            return response

        response = self._database.run(caller.organization, caller.channel, use)
        crash.point(f"server.after_commit.{method}")
        self._loss.strike(method)
        answer: bytes = response.SerializeToString()
        return answer

    def subscription(self) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of SubscribeToEvents."""

        async def handle(body: bytes, context: Context) -> AsyncGenerator[bytes, None]:
            with self._call():
                try:
                    if self._closed:
                        raise ClosedError
                    organization, channel, _ = self._gate.identify(context)
                    request = _parse(pb.SubscribeToEventsParam, body)
                    begun = await self._subscribe(organization, channel, request.start_event_id)
                    if begun.forgotten_until:
                        await context.send_initial_metadata(((FORGOTTEN_UNTIL, begun.forgotten_until.isoformat()),))
                    following = self._feed.follow(channel, begun.position, begun.id, self._gate.guard(context))
                    async with aclosing(following) as stream:
                        async for event in stream:
                            yield event
                except Exception as error:
                    await _abort(context, "SubscribeToEvents", error)

        return grpc.unary_stream_rpc_method_handler(handle)

    async def _subscribe(self, organization: str, channel: str, event_id: str) -> events.Subscription:
        while True:
            begun: events.Subscription | None = await asyncio.to_thread(
                self._database.run,
                organization,
                channel,
                lambda transaction: events.subscribe(transaction, event_id),
            )
            if begun is not None:
                return begun
            await self._feed.changed(_UNPLACED_PAUSE)


def _parse(request_type: type[Any], body: bytes) -> Any:
    try:
        return request_type.FromString(body)
    except DecodeError as error:
        raise BadRequestError(f"the request is not a valid {request_type.DESCRIPTOR.name}") from error


def _cut(details: str) -> str:
    # Details travel in a header, percent-encoded; clients refuse headers of more than some kilobytes.
    return details.encode()[:_MOST_DETAILS].decode(errors="ignore")


async def _abort(context: Context, method: str, error: Exception) -> NoReturn:
    match error:
        case OrchestratorError():
            await context.abort(status_of(error), _cut(str(error)))
        case UnavailableError():
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        case _:
            log.error("call.failed", method=method, exc_info=error)
            await context.abort(
                grpc.StatusCode.INTERNAL, str(InternalError("a fault of the orchestrator; its log has the details"))
            )
