"""The parts of a request's body, written to the disk as they come: an object named `data`, and files."""

import asyncio
import contextlib
import json
import math
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from orchestrator.core.errors import BadRequestError
from orchestrator.executions.errors import WholeError
from orchestrator.executions.files.uploads import Upload

DATA = "data"

_MULTIPART = b"multipart/form-data"
_BUFFER = 1024 * 1024
_LONGEST_HEADERS = 16 * 1024
_LONGEST_PREAMBLE = 64 * 1024
_MOST_PARTS = 1000


class MediaError(BadRequestError):
    """The body is of no type that is taken."""


@dataclass
class Parts:
    """What a request brought.

    Args:
        data: the file with the object; None where it brought none.
        uploads: name of the part -> file; of two with one name the first counts.
        problem: why the body cannot be read; None where it can.
    """

    data: Path | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    problem: str | None = None


def parse(body: bytes, problem: str | None) -> dict[str, Any]:
    """Return the object of the part `data`; that of no part is empty.

    Args:
        body: the part.
        problem: why the body around it could not be read.

    Raises:
        WholeError: it is none, or cannot be answered in JSON again.
    """
    if problem is not None:
        raise unreadable(problem)
    try:
        found = json.loads(body or b"{}", parse_constant=_constant, parse_float=_number)
        if b"\\u" in body:
            # Half of a character pair is no text.
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise unreadable(str(error) or "it is nested too deep") from error
    if not isinstance(found, dict):
        raise unreadable(f"an object is expected, not {type(found).__name__}")
    return found


def unreadable(reason: str) -> WholeError:
    """Return what a body is answered with that cannot be read."""
    return WholeError(f"Error while parsing the input json file. {reason}")


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


@contextlib.asynccontextmanager
async def received(
    request: Request, folder: Path, data_limit: int, renew: Callable[[], Awaitable[None]]
) -> AsyncIterator[Parts]:
    """Receive the parts of a request; what nobody keeps of them is gone after the block.

    Args:
        request: whose body.
        folder: where they lie meanwhile.
        data_limit: most bytes of the part `data`.
        renew: asked whenever something has come; raises where no more is to be taken.

    Raises:
        MediaError: the body is of another type.
        OSError: they cannot be written.
    """
    given = request.headers.get("content-type", "")
    media, options = parse_options_header(given)
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        # No body at all, whatever its type would be.
        yield Parts()
        return
    if media != _MULTIPART:
        shown = given.partition(";")[0].strip()
        raise MediaError(f'Unsupported media type "{shown}" in request.')
    with tempfile.TemporaryDirectory(dir=folder) as place:
        reading = _Reading(Path(place), data_limit)
        try:
            await reading.run(request, options.get(b"boundary", b""), renew)
        except (MultipartParseError, UnicodeError, ValueError) as error:
            reading.parts.problem = str(error) or "the body is broken"
        finally:
            reading.close()
        yield reading.parts


class _Reading:
    """Takes a body apart.

    Args:
        folder: where the parts lie.
        data_limit: most bytes of the part `data`.
    """

    def __init__(self, folder: Path, data_limit: int) -> None:
        self.parts = Parts()
        self._folder = folder
        self._data_limit = data_limit
        self._whole = False
        self._count = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._name, self._value = b"", b""
        self._part = ""
        self._file_name: str | None = None
        self._open: BinaryIO | None = None
        self._size = 0
        self._pending = bytearray()

    async def run(self, request: Request, boundary: bytes, renew: Callable[[], Awaitable[None]]) -> None:
        """Read all of a body.

        Raises:
            ValueError: it is broken.
        """
        if not boundary:
            raise ValueError("the boundary is missing")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_end": self._finish,
            },
        )
        preamble = _Preamble(boundary)
        try:
            async for chunk in request.stream():
                await renew()
                parser.write(preamble.after(chunk))
                if len(self._pending) >= _BUFFER:
                    await asyncio.to_thread(self._flush)
        except ClientDisconnect as error:
            raise ValueError("the request broke off") from error
        if not self._whole:
            raise ValueError("the body has no end")

    def close(self) -> None:
        """Close what is still open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MOST_PARTS:
            raise ValueError(f"more than {_MOST_PARTS} parts are not taken")
        self._headers, self._header_bytes = {}, 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._measure(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._measure(end - start)

    def _measure(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _LONGEST_HEADERS:
            raise ValueError("the headers of a part are too long")

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        self._part = options.get(b"name", b"").decode()
        named = options.get(b"filename")
        self._file_name = _extended_name(disposition) if named is None else _base_name(named.decode())
        self._size = 0
        wanted = self._part == DATA and self.parts.data is None
        wanted |= self._file_name is not None and self._part != DATA and self._part not in self.parts.uploads
        self._open = (self._folder / str(self._count)).open("wb", buffering=0) if wanted else None

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._part == DATA and self._size > self._data_limit:
            raise ValueError(f"more than {self._data_limit} bytes are not taken")
        if self._open is not None:
            self._pending += memoryview(data)[start:end]
            if len(self._pending) >= _BUFFER:
                self._flush()

    def _flush(self) -> None:
        if self._open is not None:
            view = memoryview(self._pending)
            while view:
                view = view[self._open.write(view) :]
            view.release()
        self._pending = bytearray()

    def _end(self) -> None:
        if self._open is None:
            return
        self._flush()
        self.close()
        path = self._folder / str(self._count)
        if self._part == DATA:
            self.parts.data = path
        else:
            self.parts.uploads[self._part] = Upload(self._file_name or "file", self._size, path)

    def _finish(self) -> None:
        self._whole = True


class _Preamble:
    """Leaves out what stands before the first boundary of a body (RFC 2046, 5.1.1), which the parser knows nothing of.

    Args:
        boundary: of the body.
    """

    def __init__(self, boundary: bytes) -> None:
        self._line = re.compile(rb"(?:\A|\r\n)(--" + re.escape(boundary) + rb"[ \t\r\n-])")
        self._head: bytes | None = b""

    def after(self, chunk: bytes) -> bytes:
        """Return what of a chunk, and of what was held back before, comes after it.

        Raises:
            ValueError: it is too long, or the body ended in it.
        """
        if self._head is None:
            return chunk
        head = self._head + chunk
        found = self._line.search(head)
        if found:
            self._head = None
            return head[found.start(1) :]
        if len(head) > _LONGEST_PREAMBLE:
            raise ValueError(f"no part begins within {_LONGEST_PREAMBLE} bytes")
        self._head = head
        return b""


def _extended_name(disposition: bytes) -> str | None:
    """Return the name of a file that is given as `filename*` (RFC 2231, RFC 5987), None without one."""
    if b"*" not in disposition:
        return None
    message = Message()
    message["Content-Disposition"] = disposition.decode("latin-1")
    name = message.get_filename()
    return None if name is None else _base_name(name)


def _base_name(name: str) -> str:
    """Return the last part of a file's name, whichever system wrote it, without control characters."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in base if character.isprintable()).strip() or "file"
