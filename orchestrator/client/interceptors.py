"""What every call passes through: it says who calls, gets a deadline, and fails with an error for people."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import grpc

from orchestrator.client.errors import CallError
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Span

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_CallDetails = namedtuple("_CallDetails", ("method", "timeout", "metadata", "credentials", "wait_for_ready"))


class _Identity:
    """Adds the caller and the channel to each call, and a deadline to each unary one that has none.

    Args:
        organization: who calls.
        channel: the consortium.
        timeout: the deadline, in seconds.
        address: host:port that is called.
    """

    def __init__(self, organization: str, channel: str, timeout: float, address: str) -> None:
        self._metadata = (("mspid", organization), ("channel", channel))
        self._timeout = timeout
        host, _, port = address.rpartition(":")
        self._called: dict[str, str | int] = {names.RPC_SYSTEM: names.GRPC, names.SERVER_ADDRESS: host}
        if port.isdecimal():
            self._called[names.SERVER_PORT] = int(port)

    def _traced(self, details: Any, headers: dict[str, str]) -> AbstractContextManager[Span]:
        method = details.method if isinstance(details.method, str) else details.method.decode()
        name = method.removeprefix("/")
        if name in names.PERIODIC:
            return spans.nothing()
        return spans.calling(name, {**self._called, names.RPC_METHOD: name}, headers)

    def _identified(self, details: Any, timeout: float | None, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
        metadata = (*(details.metadata or ()), *self._metadata, *headers.items())
        return _CallDetails(
            details.method, details.timeout or timeout, metadata, details.credentials, details.wait_for_ready
        )


class Interceptor(
    _Identity,
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """For a connection whose calls wait."""

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a call that is answered once."""
        return self._answered(continuation, details, request)

    def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, request_iterator: Any) -> Any:
        """Pass on a call whose request comes in parts."""
        return self._answered(continuation, details, request_iterator)

    def _answered(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        headers: dict[str, str] = {}
        with self._traced(details, headers) as span:
            call = continuation(self._identified(details, self._timeout, headers), request)
            # What `.future()` returns is an RpcError too, however it ends, and an iterator: its caller asks it.
            if isinstance(call, grpc.RpcError) and not isinstance(call, Iterator):
                _note(span, call)
                raise CallError.of(call) from None
            return call

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a subscription."""
        return continuation(self._identified(details, None), request)


class AsyncUnaryInterceptor(_Identity, grpc.aio.UnaryUnaryClientInterceptor):
    """For the calls of an asyncio connection that are answered once."""

    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a call that is answered once."""
        headers: dict[str, str] = {}
        with self._traced(details, headers) as span:
            call = await continuation(self._identified(details, self._timeout, headers), request)
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                _note(span, error)
                raise CallError.of(error) from None


class AsyncStreamInterceptor(_Identity, grpc.aio.UnaryStreamClientInterceptor):
    """For the subscriptions of an asyncio connection."""

    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a subscription."""
        return await continuation(self._identified(details, None), request)


class AsyncPartsInterceptor(_Identity, grpc.aio.StreamUnaryClientInterceptor):
    """For the calls of an asyncio connection whose request comes in parts; who awaits them makes the error of it."""

    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], details: Any, request_iterator: Any
    ) -> Any:
        """Pass on a call whose request comes in parts."""
        return await continuation(self._identified(details, self._timeout), request_iterator)


def _note(span: Span, error: grpc.RpcError) -> None:
    code = error.code().name
    span.note(names.RPC_STATUS, code)
    span.fail(code)
