"""A network that can be cut: everything that goes through it waits until it is mended, or is lost without a word."""

import asyncio
import contextlib
import ctypes
import socket
import threading
from collections import deque
from types import TracebackType
from typing import Self

from orchestrator.embedded.ports import HOST

_CHUNK = 64 * 1024
# From <asm-generic/socket.h>, which Python leaves out.
_SO_ATTACH_FILTER = 26


class Proxy:
    """Passes connections on to another port of this machine, in a thread.

    Args:
        ports: where they go: of several to one after the other, and past those where nobody listens.

    Attributes:
        port: where they come in.
    """

    def __init__(self, *ports: int) -> None:
        self._targets = deque(ports)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy")

    def cut(self) -> None:
        """Let nothing through: connections stay, and are silent."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let everything through again, also what was sent meanwhile."""
        self._loop.call_soon_threadsafe(self._open.set)

    def sever(self) -> None:
        """Break off all connections; new ones pass."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._passing])

    def lose(self) -> None:
        """Drop every packet of the connections that there are, as a firewall does that forgot them; new ones pass."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._lose, done)
        done.wait()

    def _lose(self, done: threading.Event) -> None:
        for writer in self._writers:
            # Not even acknowledged: the kernel throws the packets away before TCP sees them.
            _deafen(writer.get_extra_info("socket"))
        done.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open, self._end = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._take, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        self._writers.add(writer)
        onward_writer = writer
        try:
            await self._open.wait()
            with contextlib.suppress(OSError):
                onward_reader, onward_writer = await self._onward()
                self._writers.add(onward_writer)
                await asyncio.gather(self._pass(reader, onward_writer), self._pass(onward_reader, writer))
        except asyncio.CancelledError:
            return
        finally:
            self._passing.discard(task)
            self._writers -= {writer, onward_writer}
            writer.transport.abort()

    async def _onward(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        refused = OSError()
        for _ in range(len(self._targets)):
            target = self._targets[0]
            self._targets.rotate(-1)
            try:
                return await asyncio.open_connection(HOST, target)
            except OSError as error:
                refused = error
        raise refused

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.transport.abort()


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _deafen(end: socket.socket) -> None:
    """Give a socket the filter that keeps nothing of any packet (BPF: return 0)."""
    instruction = _Instruction(0x06, 0, 0, 0)
    program = _Program(1, ctypes.pointer(instruction))
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
