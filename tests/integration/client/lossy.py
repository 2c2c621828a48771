"""Real gRPC servers that do not answer as they should."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

GONE = "the server stops"


@dataclass
class Lossy(grpc.GenericRpcHandler):
    """Answers each method UNAVAILABLE for its first calls.

    Args:
        losses: method -> how many of its calls are lost.
        pass_on: what happens to a call before its answer is sent or lost.
        calls: method -> how often it was called.
    """

    losses: dict[str, int]
    pass_on: Callable[[str, list[bytes], Any], bytes]
    calls: Counter[str] = field(default_factory=Counter)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path = str(handler_call_details.method)

        def answer(parts: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            method = path.rpartition("/")[2]
            self.calls[method] += 1
            response = self.pass_on(path, list(parts), context)
            if self.calls[method] <= self.losses.get(method, 0):
                context.abort(grpc.StatusCode.UNAVAILABLE, GONE)
            return response

        # A request of one part is no other to the wire than one that comes in parts.
        return grpc.stream_unary_rpc_method_handler(answer)


@contextmanager
def losing(lossy: Lossy) -> Iterator[str]:
    """Serve, and return host:port."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, handlers=(lossy,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()


@contextmanager
def in_front_of(
    address: str, credentials: grpc.ChannelCredentials, losses: dict[str, int], unknown: Collection[str] = ()
) -> Iterator[tuple[str, Lossy]]:
    """Serve what another server answers, losing answers after the call was done.

    Args:
        address: of the other.
        credentials: to connect to it.
        losses: method -> how many of its calls are lost.
        unknown: paths of methods that it does not have, as a release of before.
    """
    with grpc.secure_channel(address, credentials) as transport:

        def pass_on(path: str, parts: list[bytes], context: grpc.ServicerContext) -> bytes:
            if path in unknown:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            metadata = [(name, value) for name, value in context.invocation_metadata() if name in ("mspid", "channel")]
            try:
                return transport.stream_unary(path)(iter(parts), metadata=metadata, timeout=30)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise

        lossy = Lossy(losses, pass_on)
        with losing(lossy) as proxy:
            yield proxy, lossy
