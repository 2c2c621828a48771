"""gRPC's two servers of Python under the same handler: asyncio that hands over to a thread, and a pool of threads.

Run as `python -m benchmarks.edges`. The handler answers bytes with themselves, after a wait if asked to.
Each server is a process of its own; they take turns, and what is compared is the processor time of a call, which
holds on a busy machine. See docs/decisions/0029-server-processes.md.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import grpc
import psutil

from benchmarks.load import Step, Target, drive
from benchmarks.processor import spent

THREADS = 16
BODY = bytes(600)
METHOD = "/bench.Echo/Answer"
CLIENTS = (1, 8, 32)

Handle: TypeAlias = Callable[[bytes], bytes]
Serve: TypeAlias = Callable[[Connection, Handle], None]

_SPAWN = multiprocessing.get_context("spawn")


def _handled(handler: Any) -> grpc.GenericRpcHandler:
    service, method = METHOD[1:].split("/")
    return grpc.method_handlers_generic_handler(service, {method: handler})


def _answer(seconds: float, body: bytes) -> bytes:
    if seconds:
        time.sleep(seconds)
    return body


def _pool(ready: Connection, handle: Handle) -> None:
    """Threads that answer one message."""

    def answer(body: bytes, _: object) -> bytes:
        return handle(body)

    _threaded(ready, grpc.unary_unary_rpc_method_handler(answer))


def _pool_before_the_message(ready: Connection, handle: Handle) -> None:
    """Threads that are asked before the message is read."""

    def answer(messages: Iterator[bytes], _: object) -> bytes:
        return handle(next(messages))

    _threaded(ready, grpc.stream_unary_rpc_method_handler(answer))


def _threaded(ready: Connection, handler: Any) -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[_handled(handler)])
    ready.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


def _asyncio(ready: Connection, handle: Handle) -> None:
    """Asyncio that hands one message to a thread."""
    threads = ThreadPoolExecutor(THREADS)

    async def answer(body: bytes, _: object) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(threads, handle, body)

    asyncio.run(_looped(ready, grpc.unary_unary_rpc_method_handler(answer)))


def _asyncio_before_the_message(ready: Connection, handle: Handle) -> None:
    """Asyncio that is asked before the message is read, as our server is, and hands it to a thread."""
    threads = ThreadPoolExecutor(THREADS)

    async def answer(_: object, context: Any) -> bytes:
        body = await context.read()
        return await asyncio.get_running_loop().run_in_executor(threads, handle, body)

    asyncio.run(_looped(ready, grpc.stream_unary_rpc_method_handler(answer)))


async def _looped(ready: Connection, handler: Any) -> None:
    server = grpc.aio.server(handlers=[_handled(handler)])
    ready.send(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


EDGES: dict[str, Serve] = {
    "asyncio": _asyncio,
    "pool": _pool,
    "asyncio, before the message": _asyncio_before_the_message,
    "pool, before the message": _pool_before_the_message,
}


class Edge:
    """One server, and what its calls have cost.

    Args:
        serve: what it is.
        handle: what a call does.
    """

    def __init__(self, serve: Serve, handle: Handle) -> None:
        ready, told = _SPAWN.Pipe(duplex=False)
        self._process = _SPAWN.Process(target=serve, args=(told, handle), daemon=True)
        self._process.start()
        self._target = Target(f"127.0.0.1:{ready.recv()}", "bench", "bench")
        self._measured = psutil.Process(self._process.pid)
        self.costs: list[float] = []
        self.rates: list[float] = []

    def drive(self, clients: int, calls: int) -> None:
        """Make calls, and note the processor time and the rate of them."""
        before = spent([self._measured])
        driven = drive(self._target, clients, [[Step(METHOD, BODY)]] * calls, 60.0)
        assert not driven.failures, driven.reason  # noqa: S101
        self.costs.append((spent([self._measured]) - before) / driven.calls)
        self.rates.append(driven.calls / driven.seconds)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edges", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each server (default: 7)")
    parser.add_argument("--calls", type=int, default=4000, help="of each round (default: 4000)")
    parser.add_argument("--wait", type=float, default=0.0, help="milliseconds that the handler waits (default: 0)")
    options = parser.parse_args()
    for clients in CLIENTS:
        edges = {name: Edge(serve, partial(_answer, options.wait / 1000)) for name, serve in EDGES.items()}
        try:
            for edge in edges.values():
                edge.drive(clients, options.calls // 4)
                edge.costs.clear()
                edge.rates.clear()
            for number in range(options.rounds):
                for edge in list(edges.values())[:: 1 if number % 2 else -1]:
                    edge.drive(clients, options.calls)
        finally:
            for edge in edges.values():
                edge.stop()
        for name, edge in edges.items():
            costs = sorted(1e6 * cost for cost in edge.costs)
            print(
                f"{clients:3} clients  {name:28} {statistics.median(costs):6.0f} µs of processor a call "
                f"({costs[0]:.0f}–{costs[-1]:.0f}), {statistics.median(edge.rates):6.0f} calls/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
