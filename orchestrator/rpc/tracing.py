"""A span for each call that is answered once, within the caller's; streams last for days, and have none, nor have
the calls that come again and again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from orchestrator.rpc.identity import Context
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.spans import Kind
from orchestrator.telemetry.traceparent import NAME, valid

# As a number gRPC tells the code of an answer, whatever its types say.
_CODES: Mapping[object, str] = {code.value[0]: code.name for code in grpc.StatusCode}
# Of a refusal the caller is to blame; source: semantic conventions for gRPC, server spans.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


def traced(name: str, handler: "grpc.RpcMethodHandler[bytes, bytes]") -> "grpc.RpcMethodHandler[bytes, bytes]":
    """Return a handler whose calls are traced; the same one where nothing is.

    Args:
        name: of the method, with its package and service.
        handler: of it.
    """
    if not spans.on() or handler.response_streaming or name in names.PERIODIC:
        return handler
    answer: Any = handler.stream_unary
    attributes = {names.RPC_SYSTEM: names.GRPC, names.RPC_METHOD: name}

    async def handle(requests: AsyncIterator[bytes], context: Context) -> bytes:
        given = next((value for key, value in context.invocation_metadata() or () if key == NAME), None)
        with spans.span(name, Kind.SERVER, attributes, within=valid(given)) as span:
            try:
                answered: bytes | BaseException = await answer(requests, context)
                code = "OK"
            except grpc.aio.AbortError as error:
                answered, code = error, _CODES.get(context.code(), "UNKNOWN")
            except asyncio.CancelledError as error:
                answered, code = error, "CANCELLED"
            span.note(names.RPC_STATUS, code)
            if code in _FAULTS:
                span.fail(code)
        if isinstance(answered, BaseException):
            raise answered
        return answered

    return grpc.stream_unary_rpc_method_handler(handle)
