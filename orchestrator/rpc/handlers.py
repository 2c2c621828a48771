"""The gRPC edge: from metadata to who calls, from bytes to bytes, from a refusal to a status."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from orchestrator import log
from orchestrator.calls import call, parts
from orchestrator.calls.admission import Receive, ReceivePart
from orchestrator.calls.call import Calls, Flow, Gathering, Operation, Streaming
from orchestrator.calls.gate import Caller, Gate, Identify
from orchestrator.calls.refusals import Refusal
from orchestrator.calls.sizes import parsed_size
from orchestrator.calls.turns import Lane
from orchestrator.core.errors import BadRequestError
from orchestrator.engine.together import Together
from orchestrator.engine.transaction import Transaction
from orchestrator.rpc.identity import Context, Metadata, identify

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound="Serializable")


class Serializable(Protocol):
    """A message, or what is written as one."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf names it
        """Return its bytes."""


RETRY_AFTER = "grpc-retry-pushback-ms"
"""Trailing metadata of a call that was refused because too much is in hand: the pause, in milliseconds.

Clients that repeat calls by a retry policy of gRPC obey it by themselves (gRFC A6).
"""

_MOST_DETAILS = 1000


class Handlers:
    """Makes the handlers of methods.

    Args:
        gate: lets callers in.
        calls: answers them.
    """

    def __init__(self, gate: Gate, calls: Calls) -> None:
        self._gate = gate
        self._calls = calls

    def unary(self, operation: Operation[call.Request, call.Response]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of a method that answers once."""

        async def handle(_: object, context: Context) -> bytes:
            metadata = _metadata(context)
            request = _begin(context, metadata)
            answered = await self._calls.answer(operation, self._identify(metadata, context), _receive(context))
            if isinstance(answered, Refusal):
                await _abort(context, answered, request)
            return answered

        # To the caller it is a call with one message. Only who takes a stream is asked before the message is read.
        return grpc.stream_unary_rpc_method_handler(handle)

    def gather(self, gathering: Gathering[call.Part, call.Response]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of a method that takes a stream and answers once."""

        async def handle(_: object, context: Context) -> bytes:
            metadata = _metadata(context)
            request = _begin(context, metadata)
            answered = await self._calls.gather(gathering, self._identify(metadata, context), _receive_part(context))
            if isinstance(answered, Refusal):
                await _abort(context, answered, request)
            return answered

        return grpc.stream_unary_rpc_method_handler(handle)

    def stream(self, streaming: Streaming[call.Request]) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return the handler of a method that answers with a stream."""

        async def handle(_: object, context: Context) -> AsyncGenerator[bytes, None]:
            metadata = _metadata(context)
            request = _begin(context, metadata)

            async def head(name: str, value: str) -> None:
                await context.send_initial_metadata(((name, value),))

            check = self._gate.guard(partial(identify, self._gate, metadata, context))
            streamed = self._calls.stream(streaming, self._identify(metadata, context), _receive(context), check, head)
            async with aclosing(streamed) as messages:
                async for message in messages:
                    if isinstance(message, Refusal):
                        await _abort(context, message, request)
                    yield message

        return grpc.stream_stream_rpc_method_handler(handle)

    def _identify(self, metadata: Metadata, context: Context) -> Identify:
        async def let_in() -> Caller:
            return identify(self._gate, metadata, context)

        return let_in


def _receive(context: Context) -> Receive:
    async def receive() -> bytes:
        body = await context.read()
        if not isinstance(body, bytes):
            raise BadRequestError("the call ended without a request")
        return body

    return receive


def _metadata(context: Context) -> Metadata:
    return context.invocation_metadata() or ()


def _begin(context: Context, metadata: Metadata) -> str:
    """Begin a call; return its id, which its answer bears."""
    given = None
    for key, value in metadata:
        if key == log.REQUEST and given is None:
            given = value
    request = log.begin_request(given if isinstance(given, str) else None, context.peer())
    context.set_trailing_metadata(((log.REQUEST, request),))
    return request


def _receive_part(context: Context) -> ReceivePart:
    async def receive() -> bytes | None:
        part = await context.read()
        return part if isinstance(part, bytes) else None

    return receive


async def _abort(context: Context, refusal: Refusal, request: str) -> NoReturn:
    # Details travel in a header, percent-encoded; clients refuse headers of more than some kilobytes.
    details = str(refusal).encode()[:_MOST_DETAILS].decode(errors="ignore")
    pause = () if refusal.pause is None else ((RETRY_AFTER, f"{refusal.pause * 1000:.0f}"),)
    trailing = ((log.REQUEST, request), *pause)
    await context.abort(grpc.StatusCode[refusal.outcome], details, trailing)


class Method(Protocol):
    """What stands behind a method."""

    streams: ClassVar[bool]
    """Whether it is answered with a stream."""

    takes_stream: ClassVar[bool]
    """Whether its request is one."""

    def handler(self, name: str, lane: Lane, handlers: Handlers) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return its handler.

        Args:
            name: its name.
            lane: whom it shares the server with.
            handlers: of the server.
        """


@dataclass(frozen=True)
class Unary(Generic[Request, Response]):
    """A method that is answered once.

    Args:
        request: the type of its request.
        use_case: what it does, in a transaction.
        large: whether it may take much memory, however small its request.
        together: does many calls of it in one transaction; None where each has its own.
    """

    request: type[Request]
    use_case: Callable[[Transaction, Request], Response]
    large: bool = False
    together: Together[Request, Response] | None = None
    streams: ClassVar[bool] = False
    takes_stream: ClassVar[bool] = False

    def handler(self, name: str, lane: Lane, handlers: Handlers) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return its handler."""
        read, size_of = partial(_parse, self.request), partial(parsed_size, self.request)
        operation = Operation(name, read, size_of, self.use_case, _write, lane, self.large, self.together)
        return handlers.unary(operation)


@dataclass(frozen=True)
class Listed(Generic[Request, Response]):
    """A method whose request is a long list, which it is given in parts, and that is answered once.

    Args:
        request: the type of the request, whose only field is the list, and of each part.
        use_case: what it does, in a transaction; the parts may be iterated over again and again.
    """

    request: type[Request]
    use_case: Callable[[Transaction, Iterable[Request]], Response]
    streams: ClassVar[bool] = False
    takes_stream: ClassVar[bool] = False

    def handler(self, name: str, lane: Lane, handlers: Handlers) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return its handler."""
        size_of = partial(parsed_size, self.request)
        return handlers.unary(Operation(name, self._cut, size_of, self.use_case, _write, lane))

    def _cut(self, body: bytes) -> parts.Parts[Request]:
        (field,) = self.request.DESCRIPTOR.fields
        return parts.Parts(parts.Cut(body, field.number), partial(_parse, self.request))


@dataclass(frozen=True)
class Parts(Generic[Request, Response]):
    """A method that takes its request in parts, and is answered once.

    Args:
        request: the type of a part.
        use_case: what it does, in a transaction; the parts may be iterated over again and again.
    """

    request: type[Request]
    use_case: Callable[[Transaction, Iterable[Request]], Response]
    streams: ClassVar[bool] = False
    takes_stream: ClassVar[bool] = True

    def handler(self, name: str, lane: Lane, handlers: Handlers) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Return its handler."""
        read, size_of = partial(_parse, self.request), partial(parsed_size, self.request)
        return handlers.gather(Gathering(name, read, size_of, self.use_case, _write, lane))


@dataclass(frozen=True)
class Stream(Generic[Request]):
    """A method that is answered with a stream.

    Args:
        request: the type of its request.
        source: yields the messages, serialized.
    """

    request: type[Request]
    source: Callable[[Flow, Request], AsyncGenerator[bytes, None]]
    streams: ClassVar[bool] = True
    takes_stream: ClassVar[bool] = False

    def handler(self, name: str, lane: Lane, handlers: Handlers) -> "grpc.RpcMethodHandler[bytes, bytes]":  # noqa: ARG002 - streams are counted on their own
        """Return its handler."""
        read, size_of = partial(_parse, self.request), partial(parsed_size, self.request)
        return handlers.stream(Streaming(name, read, size_of, self.source))


def _parse(request_type: type[Request], body: bytes) -> Request:
    try:
        return request_type.FromString(body)
    except DecodeError as error:
        raise BadRequestError(f"the request is not a valid {request_type.DESCRIPTOR.name}") from error


def _write(response: Serializable) -> bytes:
    return response.SerializeToString()
