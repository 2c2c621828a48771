"""Takes uploads into an asset store, from its own organization's people and nobody else.

`PUT /uploads/<checksum>/<name>` sends a content; with `Content-Range` (RFC 9110, 14.5) its rest, from where `GET` says.
"""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import Trust
from workers.assets.uploads import Upload, Uploads
from workers.assets.wanted import RefusedError, Wanted

log = structlog.get_logger()

_CHUNK = 1024 * 1024
_RECHECK_SECONDS = 10.0
_STALLED_SECONDS = 20.0
_SWEEP_SECONDS = 600.0
# Each asks the orchestrator of all that no asset names yet.
_LOOK_SECONDS = 3600.0
_PASSED_OVER, _PASSED_OVER_SECONDS = 8 * _CHUNK, 2.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_LENGTH = re.compile(r"\d{1,18}")


class UploadServer:
    """The routes for uploads to one organization's asset store.

    Args:
        uploads: what is on its way; None where the store takes none.
        organization: whose store it is.
        trust: who may vouch for whom, as of now.
        address: the public URL of a file by its name; empty where the store does not know its own.
    """

    def __init__(
        self, uploads: Uploads | None, organization: str, trust: Callable[[], Trust], address: Callable[[str], str]
    ) -> None:
        self._uploads = uploads
        self._organization = organization
        self._trust = trust
        self._address = address

    @property
    def routes(self) -> list[Route]:
        """For Starlette."""
        path = "/uploads/{checksum}/{name:path}"
        return [Route(path, self.look, methods=["GET"]), Route(path, self.put, methods=["PUT"])]

    # Not async: it waits for the disk, so Starlette gives it a thread.
    def look(self, request: Request) -> Response:
        """Say how much of an upload has come, and whether it would be taken."""
        try:
            uploads, wanted = self._admit(request)
            length = request.headers.get("Upload-Length")
            if length is not None and not _LENGTH.fullmatch(length):
                raise RefusedError(400, "Upload-Length is a number of bytes")
            come = uploads.offset(wanted, None if length is None else int(length))
        except RefusedError as error:
            raise _refusal(error) from error
        if come is None:
            return self._stored(wanted, 200)
        headers = {"Upload-Offset": str(come), "Upload-Complete": "?0", "Cache-Control": "no-store"}
        return JSONResponse({"complete": False, "offset": come}, headers=headers)

    async def put(self, request: Request) -> Response:
        """Take a content, or the rest of one."""
        try:
            return await self._put(request)
        except RefusedError as error:
            log.warning("upload.refused", path=request.scope["path"], status=error.status, reason=str(error))
            await _pass_over(request)
            raise _refusal(error) from error
        except HTTPException:
            await _pass_over(request)
            raise
        except ClientDisconnect:
            log.info("upload.broken_off", path=request.scope["path"])
            # Nobody hears it.
            return Response(status_code=400)

    async def _put(self, request: Request) -> Response:
        uploads, wanted = await run_in_threadpool(self._admit, request)
        offset, size = _extent(request)
        upload = uploads.begin(wanted, offset, size)
        begun = await run_in_threadpool(upload.__enter__)
        try:
            if begun is not None:
                await self._receive(request, begun)
        finally:
            await run_in_threadpool(upload.__exit__, None, None, None)
        if begun is None:
            await _pass_over(request)
            return await run_in_threadpool(self._stored, wanted, 200, {"Connection": "close"})
        log.info("upload.taken", name=wanted.name, size=size, offset=offset)
        return await run_in_threadpool(self._stored, wanted, 201)

    async def _receive(self, request: Request, upload: Upload) -> None:
        """Write what comes, and at the end move it into the store."""
        checked = time.monotonic()
        try:
            async for content in _chunks(request):
                await run_in_threadpool(upload.write, content)
                if time.monotonic() > checked + _RECHECK_SECONDS:
                    await run_in_threadpool(self._identify, request)
                    checked = time.monotonic()
        except TimeoutError as error:
            raise RefusedError(408, f"nothing came for {_STALLED_SECONDS:g} s; go on from where GET says") from error
        await run_in_threadpool(upload.finish)

    def _admit(self, request: Request) -> tuple[Uploads, Wanted]:
        self._identify(request)
        if self._uploads is None:
            raise RefusedError(
                501,
                "this asset store takes no uploads: it may not write to its folder, or it is none of its machine, and "
                "its administrator has named none for uploads (ORCHESTRATOR_STORE_UPLOADS)",
            )
        if "content-encoding" in request.headers:
            raise RefusedError(415, "uploads are sent as they are, without a Content-Encoding")
        return self._uploads, Wanted(request.path_params["name"], request.path_params["checksum"])

    def _identify(self, request: Request) -> None:
        try:
            self._trust().verify(request.state.presented, self._organization, datetime.now(UTC))
        except PermissionDeniedError as error:
            log.warning("upload.denied", path=request.scope["path"], reason=str(error))
            raise HTTPException(
                403,
                f"only {self._organization} may put anything into its asset store, and "
                f"{str(error).removeprefix(f'{error.code}: ')}",
                {"Connection": "close"},
            ) from error

    def _stored(self, wanted: Wanted, status: int, more: Mapping[str, str] | None = None) -> Response:
        address = "" if wanted.is_folder else self._address(wanted.name)
        headers = {"Upload-Complete": "?1", "Cache-Control": "no-store", **(more or {})}
        content = {"complete": True, "checksum": wanted.checksum, "storage_address": address}
        return JSONResponse(content, status, headers)


class Removal:
    """A thread that removes uploads which nobody went on with, or which no asset names, for as long as the block lasts.

    Args:
        uploads: of a store; None where it takes none.
    """

    def __init__(self, uploads: Uploads | None) -> None:
        self._uploads = uploads
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = 0.0
        while self._uploads is not None:
            try:
                self._uploads.remove_old()
                if self._uploads.unnamed is not None and time.monotonic() >= due:
                    due = time.monotonic() + _LOOK_SECONDS
                    self._uploads.unnamed.look()
            except OSError as error:
                log.warning("uploads.not_removed", reason=str(error))
            if self._over.wait(_SWEEP_SECONDS):
                return


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body in large pieces; one that brings nothing for long, or breaks off, ends it."""
    pieces = aiter(request.stream())
    held = bytearray()
    try:
        while True:
            held += await asyncio.wait_for(anext(pieces), _STALLED_SECONDS)
            if len(held) >= _CHUNK:
                yield bytes(held)
                held.clear()
    except StopAsyncIteration:
        if held:
            yield bytes(held)
    except (ClientDisconnect, TimeoutError):
        if held:
            yield bytes(held)
        raise


async def _pass_over(request: Request) -> None:
    """Read some of a body that nobody wants: where it is cut off, whoever sends it does not get to read the answer."""
    if "expect" in request.headers:
        # It sends nothing before it is told to.
        return
    left = _PASSED_OVER
    try:
        async with asyncio.timeout(_PASSED_OVER_SECONDS):
            async for content in request.stream():
                left -= len(content)
                if left < 0:
                    return
    except (ClientDisconnect, TimeoutError, RuntimeError):
        # Starlette's word for a body that was begun to be read before.
        return


def _extent(request: Request) -> tuple[int, int]:
    """Return the first byte that a request sends, and how many there are of all."""
    length = request.headers.get("Content-Length", "")
    if not _LENGTH.fullmatch(length):
        raise RefusedError(411, "how much is sent must be said beforehand, by Content-Length")
    stated = request.headers.get("Content-Range")
    if stated is None:
        return 0, int(length)
    match = _RANGE.fullmatch(stated)
    if match is None:
        raise RefusedError(400, "Content-Range is `bytes first-last/all`, as `curl -C OFFSET -T FILE` sends it")
    first, last, size = map(int, match.groups())
    if last + 1 != size or size - first != int(length):
        raise RefusedError(400, "Content-Range and Content-Length must say the same: all the rest, to the last byte")
    return first, size


def _refusal(error: RefusedError) -> HTTPException:
    # What was refused is not read to its end.
    return HTTPException(error.status, str(error), {**error.headers, "Connection": "close"})
