"""What every call passes through: it says who calls, gets a deadline, and fails with an error for people."""

from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from orchestrator.client.errors import CallError

_CallDetails = namedtuple("_CallDetails", ("method", "timeout", "metadata", "credentials", "wait_for_ready"))


class _Identity:
    """Adds the caller and the channel to each call, and a deadline to each unary one that has none.

    Args:
        organization: who calls.
        channel: the consortium.
        timeout: the deadline, in seconds.
    """

    def __init__(self, organization: str, channel: str, timeout: float) -> None:
        self._metadata = (("mspid", organization), ("channel", channel))
        self._timeout = timeout

    def _identified(self, details: Any, timeout: float | None) -> Any:
        metadata = (*(details.metadata or ()), *self._metadata)
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
        call = continuation(self._identified(details, self._timeout), request)
        # What `.future()` returns is an RpcError too, however it ends, and an iterator: its caller asks it.
        if isinstance(call, grpc.RpcError) and not isinstance(call, Iterator):
            raise CallError.of(call) from None
        return call

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a subscription."""
        return continuation(self._identified(details, None), request)


class AsyncUnaryInterceptor(_Identity, grpc.aio.UnaryUnaryClientInterceptor):
    """For the calls of an asyncio connection that are answered once."""

    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Pass on a call that is answered once."""
        call = await continuation(self._identified(details, self._timeout), request)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
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
