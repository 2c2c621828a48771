"""What every call passes through: identity, parsing, one transaction in a thread, and errors as statuses."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from orchestrator import protos as pb
from orchestrator.core import crash
from orchestrator.core.errors import (
    BadRequestError,
    BusyError,
    ClosedError,
    InternalError,
    OrchestratorError,
    UnavailableError,
    UnimplementedError,
)
from orchestrator.core.headers import FORGOTTEN_UNTIL
from orchestrator.rpc import metrics
from orchestrator.rpc.admission import Admission
from orchestrator.rpc.identity import Caller, Context, Gate
from orchestrator.rpc.loss import Loss
from orchestrator.rpc.methods import UseCase
from orchestrator.rpc.status import status_of
from orchestrator.rpc.turns import Lane
from orchestrator.trace import reading

log = structlog.get_logger()

RETRY_AFTER = "grpc-retry-pushback-ms"
"""Trailing metadata of a call that was refused because too much is in hand: the pause, in milliseconds.

Clients that repeat calls by a retry policy of gRPC obey it by themselves (gRFC A6).
"""

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
        admission: shares the server between the organizations.
    """

    def __init__(self, gate: Gate, database: Transactions, feed: Events, admission: Admission) -> None:
        self._gate = gate
        self._database = database
        self._feed = feed
        self._admission = admission
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
        self, method: str, request_type: type[Message], use_case: UseCase | None, lane: Lane = Lane.CALL
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of a method that answers once.

        Args:
            method: its name.
            request_type: of its one message.
            use_case: what it does; None: it is not implemented.
            lane: whom it shares the server with.
        """

        async def answer(context: Context) -> bytes:
            if self._closed:
                raise ClosedError
            caller = self._gate.identify(context)
            if use_case is None:
                raise UnimplementedError(f"{method} is not implemented by this server")
            organization = caller.organization
            with self._admission.call(organization, lane):
                async with self._admission.message(context, organization, lane, request_type) as body:
                    run = partial(self._run, method, use_case, request_type, body, caller)
                    return await self._admission.run(organization, lane, run)

        # To the caller it is a call with one message. Only who takes a stream is asked before the message is read.
        async def handle(_: object, context: Context) -> bytes:
            started = time.perf_counter()
            try:
                with self._call():
                    try:
                        return await answer(context)
                    except Exception as error:
                        refusal = _refusal(method, error)
                    await context.abort(*refusal)
            finally:
                metrics.observe(method, context.code(), time.perf_counter() - started)

        return grpc.stream_unary_rpc_method_handler(handle)

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

        async def follow(context: Context) -> AsyncGenerator[bytes, None]:
            if self._closed:
                raise ClosedError
            organization, channel, _ = self._gate.identify(context)
            with self._admission.subscription(organization):
                wanted = pb.SubscribeToEventsParam
                async with self._admission.message(context, organization, Lane.CALL, wanted) as body:
                    request = _parse(wanted, body)
                begun = await self._subscribe(organization, channel, request.start_event_id)
                if begun.forgotten_until:
                    await context.send_initial_metadata(((FORGOTTEN_UNTIL, begun.forgotten_until.isoformat()),))
                following = self._feed.follow(channel, begun.position, begun.id, self._gate.guard(context))
                async with aclosing(following) as stream:
                    async for event in stream:
                        yield event

        async def handle(_: object, context: Context) -> AsyncGenerator[bytes, None]:
            with self._call():
                try:
                    async with aclosing(follow(context)) as stream:
                        async for event in stream:
                            yield event
                    return
                except Exception as error:
                    refusal = _refusal("SubscribeToEvents", error)
                await context.abort(*refusal)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _subscribe(self, organization: str, channel: str, event_id: str) -> reading.Subscription:
        subscribe = partial(reading.subscribe, event_id=event_id)
        while True:
            begun: reading.Subscription | None = await self._admission.run(
                organization, Lane.CALL, partial(self._database.run, organization, channel, subscribe)
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


def _refusal(method: str, error: Exception) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Return what a call is answered with: status, details, trailing metadata.

    gRPC keeps the context of an abort in a cycle: inside an `except` block it would keep the error, its frames and in
    them the request until they are collected.
    """
    match error:
        case OrchestratorError():
            return status_of(error), _cut(str(error)), ()
        case BusyError():
            return grpc.StatusCode.UNAVAILABLE, str(error), ((RETRY_AFTER, f"{error.pause * 1000:.0f}"),)
        case UnavailableError():
            return grpc.StatusCode.UNAVAILABLE, str(error), ()
        case _:
            log.error("call.failed", method=method, exc_info=error)
            fault = InternalError("a fault of the orchestrator; its log has the details")
            return grpc.StatusCode.INTERNAL, str(fault), ()
