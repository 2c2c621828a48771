"""What all calls of executions have in common: who calls, what came, the use case, and the answer."""

import asyncio
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path as FilePath
from typing import IO, Any, TypeVar
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestrator import protos as pb
from orchestrator.calls.call import Calls, Operation
from orchestrator.calls.gate import Visit
from orchestrator.calls.refusals import Refusal
from orchestrator.calls.sizes import document_size
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.files.storage import Files
from orchestrator.executions.rights import Rights
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions import parts, ranges, refused
from orchestrator.gateway.executions.answers import Answers, body
from orchestrator.gateway.executions.parts import Parts
from orchestrator.gateway.identity import Identity

Found = TypeVar("Found")

_JSON, _FILE = "application/json", "application/octet-stream"
_CHUNK = 256 * 1024
_IN_MEMORY = 1024 * 1024
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


class Answering:
    """Answers calls.

    Args:
        calls: lets them in and runs their use cases.
        identity: says who calls.
        settings: of executions.
        files: where files are kept.
    """

    def __init__(self, calls: Calls, identity: Identity, settings: ExecutionSettings, files: Files) -> None:
        self._calls = calls
        self.identity = identity
        self.settings = settings
        self.files = files

    def answers(self, request: Request) -> Answers:
        """Return what writes the answers to a request."""
        # Only HTTP/1.0 names no host.
        host = request.headers.get("host") or "{}:{}".format(*request.scope["server"])
        return Answers(f"{request.scope['scheme']}://{host}", self.settings.maas_api_hostname, self.settings.zone)

    def rights(self, transaction: Transaction) -> Rights:
        """Return what the caller may do."""
        caller = None if self.identity.open else transaction.organization
        return Rights(caller, self.settings.executions_organization)

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Parts]:
        """Receive what a request brings, from who may call; what is not kept of it is gone after the block."""
        # Who may not call, or may not any more, may not fill the disk either.
        identify = partial(self.identity.identify, request)
        visit, limit = Visit(await identify(), identify), self.settings.execution_data_limit
        async with parts.received(request, self.files.staging, limit, visit.renew) as received:
            yield received

    def keep(self, kept: list[pb.StoredFile], upload: Any, place: pb.StoredFile) -> None:
        """Keep an upload, note it in a list, and put what stands for it in its place."""
        place.CopyFrom(self.files.keep(upload))
        kept.append(place)

    async def answered(
        self,
        request: Request,
        name: str,
        use: Callable[[Transaction], Found],
        write: Callable[[Found], bytes],
    ) -> Response:
        """Answer with what a use case returns, in JSON."""
        operation = Operation(name, bytes, len, lambda transaction, _: use(transaction), write)
        answered = await self._calls.answer(operation, partial(self.identity.identify, request), _nothing)
        return self.turned_away(answered) or Response(answered, media_type=_JSON)

    async def listed(self, request: Request, name: str, use: Callable[[Transaction], Iterable[bytes]]) -> Response:
        """Answer with the pieces of JSON that a use case returns; what is large lies on the disk while it is sent."""
        large: list[IO[bytes]] = []

        def write(transaction: Transaction) -> bytes:
            large.clear()
            begun = bytearray()
            for piece in use(transaction):
                begun += piece
                if len(begun) > _IN_MEMORY:
                    if not large:
                        large.append(tempfile.TemporaryFile(dir=self.files.staging))  # noqa: SIM115
                    large[0].write(begun)
                    begun.clear()
            if large:
                large[0].write(begun)
                return b""
            return bytes(begun)

        answered = await self.answered(request, name, write, bytes)
        if answered.status_code != 200 or not large:
            return answered
        # A slow client must not hold a transaction, and the length comes first.
        size = large[0].tell()
        headers = {"Content-Length": str(size)}
        if request.method == "HEAD":
            return Response(None, 200, headers, media_type=_JSON)
        return StreamingResponse(_content(large[0], 0, size), 200, headers, media_type=_JSON)

    async def shown(self, request: Request, name: str, use: Callable[[Transaction], pb.Execution]) -> Response:
        """Answer with the execution that a use case returns."""
        answers = self.answers(request)
        return await self.answered(request, name, use, lambda execution: body(answers.execution(execution)))

    async def with_data(
        self,
        request: Request,
        name: str,
        received: Parts,
        use: "Callable[[Transaction, Data], Found]",
        write: Callable[[Found], bytes],
    ) -> bytes | Refusal:
        """Run a use case that is given what the part `data` says, which is read when there is room for it."""

        async def receive() -> bytes:
            return await asyncio.to_thread(received.data.read_bytes) if received.data else b""

        operation = Operation(
            name,
            lambda content: content,
            document_size,
            lambda transaction, content: use(transaction, Data(content, received.problem)),
            write,
        )
        return await self._calls.answer(operation, partial(self.identity.identify, request), receive)

    async def created(
        self,
        request: Request,
        name: str,
        received: Parts,
        use: "Callable[[Transaction, Data], Found]",
        kept: list[pb.StoredFile],
        show: Callable[[Found], dict[str, Any]],
    ) -> Response:
        """Answer that a use case has created something; what it kept for it goes where it is refused."""
        shown: list[dict[str, Any]] = []

        def write(created: Found) -> bytes:
            shown.append(show(created))
            return body(shown[0])

        def once(transaction: Transaction, data: Data) -> Found:
            # A transaction that is run again keeps its files anew.
            self.files.remove(_keys(kept))
            kept.clear()
            return use(transaction, data)

        answered = await self.with_data(request, name, received, once, write)
        if isinstance(answered, Refusal):
            await asyncio.to_thread(self.files.remove, _keys(kept))
            return refused.answer(answered, self.identity.challenge)
        return Response(answered, 201, {"Location": shown[0]["url"]}, media_type=_JSON)

    async def reported(
        self, request: Request, name: str, received: Parts, use: "Callable[[Transaction, Data], pb.Execution]"
    ) -> Response:
        """Answer with the execution that a use case returns, which is given the part `data`."""
        answers = self.answers(request)
        write = lambda execution: body(answers.execution(execution))  # noqa: E731 - a line
        answered = await self.with_data(request, name, received, use, write)
        return self.turned_away(answered) or Response(answered, media_type=_JSON)

    async def deleted(
        self, request: Request, name: str, use: Callable[[Transaction], Iterable[pb.StoredFile]]
    ) -> Response:
        """Answer that something is gone, and remove the files that a use case returns."""
        gone: list[pb.StoredFile] = []

        def write(files: Iterable[pb.StoredFile]) -> bytes:
            gone.extend(files)
            return b""

        answered = await self.answered(request, name, use, write)
        if answered.status_code != 200:
            return answered
        await asyncio.to_thread(self.files.remove, _keys(gone))
        return Response(None, 204)

    async def sent(self, request: Request, name: str, use: Callable[[Transaction], pb.StoredFile]) -> Response:
        """Answer with the file that a use case returns, or the part of it that is asked for."""
        answered = await self._found(request, name, use)
        if answered.status_code != 200:
            return answered
        file = pb.StoredFile.FromString(bytes(answered.body))
        headers = {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{_name(file)}"'}
        try:
            part = ranges.read(request.headers.get("range"), file.size)
        except ranges.UnsatisfiableError:
            return refused.detail(416, "The range begins after the end.", {"Content-Range": f"bytes */{file.size}"})
        begin, end = part or (0, file.size)
        headers["Content-Length"] = str(end - begin)
        if part:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
        status = 206 if part else 200
        if request.method == "HEAD":
            return Response(None, status, headers, media_type=_FILE)
        try:
            opened = await asyncio.to_thread(self.files.open, file)
        except FileNotFoundError:
            # It goes after its row: if that is gone by now, there is nothing here; else the file is lost.
            again = await self._found(request, name, use)
            if again.status_code != 200:
                return again
            raise
        return StreamingResponse(_content(opened, begin, end), status, headers, media_type=_FILE)

    async def _found(self, request: Request, name: str, use: Callable[[Transaction], pb.StoredFile]) -> Response:
        return await self.answered(request, name, use, lambda file: file.SerializeToString())

    def turned_away(self, answered: bytes | Refusal) -> Response | None:
        """Return what a refused call is answered with, None where it was not refused."""
        return refused.answer(answered, self.identity.challenge) if isinstance(answered, Refusal) else None


class Data:
    """What the part `data` says, read when a use case asks for it."""

    def __init__(self, content: bytes, problem: str | None) -> None:
        self._content = content
        self._problem = problem

    def read(self) -> Any:
        """Return the object.

        Raises:
            WholeError: it cannot be read.
        """
        return parts.parse(self._content, self._problem)


def _content(opened: IO[bytes], begin: int, end: int) -> Iterator[bytes]:
    """Yield a part of a file, and close it."""
    with opened:
        opened.seek(begin)
        left = end - begin
        while left > 0 and (chunk := opened.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


async def _nothing() -> bytes:
    return b""


def _keys(files: Iterable[pb.StoredFile]) -> list[UUID]:
    return [UUID(file.key) for file in files]


def _name(file: pb.StoredFile) -> str:
    suffix = FilePath(file.name).suffix
    return f"{file.key}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
