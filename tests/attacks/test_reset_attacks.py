"""Calls that are taken back as soon as they are made: a server that is slow to look at them drops nobody else's."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.calls.admission import Admission
from orchestrator.calls.call import Calls
from orchestrator.calls.threads import Threads
from orchestrator.dispatch.feed import Feed
from orchestrator.embedded.ports import free_port
from orchestrator.engine.transaction import Database
from orchestrator.rpc.handlers import Handlers
from orchestrator.rpc.identity import Gate
from orchestrator.rpc.server import make_server
from orchestrator.settings import ServerSettings, read_channels

CHANNEL = "channel"
GREEDY, MODEST = "org-1", "org-2"
DATA, HEADERS, RESET, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
CANCEL = bytes((0, 0, 0, 8))
TAKEN_BACK = 5000
"""More than gRPC lets wait by default: from 1,000 on it drops some, from 3,000 on all."""
KEPT = 20


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def field(name: str, value: str) -> bytes:
    """Return a header without an index (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


class Connection:
    """A connection to a gRPC server, frame by frame.

    Args:
        address: host:port of the server.
        organization: that calls.
    """

    def __init__(self, address: str, organization: str) -> None:
        self._organization = organization
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._read = self._socket.makefile("rb")
        self._kinds: list[int] = []
        self._ended = 0
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))

    def call(self, path: str, request: Message, stream: int) -> bytes:
        """Return the frames of a call."""
        names = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "server",
            "content-type": "application/grpc",
            "te": "trailers",
            "mspid": self._organization,
            "channel": CHANNEL,
        }
        head = b"".join(field(name, value) for name, value in names.items())
        body = request.SerializeToString()
        message = bytes(1) + len(body).to_bytes(4, "big") + body
        return frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, message)

    def deliver(self, frames: bytes) -> None:
        """Send frames, and wait until the server has read them."""
        self._socket.sendall(frames + frame(PING, 0, 0, bytes(8)))
        while self._next() != (PING, ACKNOWLEDGED):
            pass

    def answers(self, calls: int) -> int:
        """Wait until calls have ended, and return how many of them with an answer."""
        while self._ended < calls:
            self._next()
        return self._kinds.count(DATA)

    def _next(self) -> tuple[int, int]:
        size, kind, flags = struct.unpack(">3sBB4x", self._read.read(9))
        self._read.read(int.from_bytes(size, "big"))
        self._kinds.append(kind)
        self._ended += kind == RESET or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
        return kind, flags

    def close(self) -> None:
        self._read.close()
        self._socket.close()


@contextmanager
def connected(address: str, organization: str) -> Iterator[Connection]:
    connection = Connection(address, organization)
    try:
        yield connection
    finally:
        connection.close()


def test_calls_that_are_taken_back_at_once_cost_nobody_else_an_answer(database: Database, tmp_path: Path):
    channels = tmp_path / "channels.yaml"
    channels.write_text(yaml.safe_dump({"channels": {CHANNEL: [GREEDY, MODEST]}}))
    settings = ServerSettings(
        database_url="postgresql://unused", channel_config=channels, grpc_address=f"127.0.0.1:{free_port()}"
    )
    gate = Gate(lambda: read_channels(channels), None)

    async def attack(threads: Threads) -> int:
        handlers = Handlers(gate, Calls(database, Feed(database, 10), Admission(settings, threads)))
        server, _ = make_server(settings, handlers, None)
        await server.start()
        with connected(settings.grpc_address, GREEDY) as greedy, connected(settings.grpc_address, MODEST) as modest:
            query = "/orchestrator.EventService/QueryEvents", pb.QueryEventsParam()
            taken_back = b"".join(
                greedy.call(*query, stream) + frame(RESET, 0, stream, CANCEL) for stream in range(1, 2 * TAKEN_BACK, 2)
            )
            # All that follows happens while the loop stands still: the server reads it, and nobody looks at it.
            greedy.deliver(taken_back)
            beat = "/orchestrator.WorkerService/Heartbeat", pb.HeartbeatParam(node="node-1")
            modest.deliver(b"".join(modest.call(*beat, stream) for stream in range(1, 2 * KEPT, 2)))
            # Not in those threads: calls wait for them.
            answers = await asyncio.to_thread(modest.answers, KEPT)
        await server.stop(None)
        return answers

    async def with_threads() -> int:
        with Threads(2, "call") as threads:
            return await attack(threads)

    assert asyncio.run(with_threads()) == KEPT
