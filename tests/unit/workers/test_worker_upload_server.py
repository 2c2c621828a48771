"""The HTTP edge of uploads, asked without a network: of clients that are slow, or are not let in any more."""

import errno
import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from orchestrator.core.errors import PermissionDeniedError
from workers.assets import upload_server
from workers.assets.store import AssetStore
from workers.assets.upload_server import UploadServer
from workers.assets.uploads import Uploads, _room
from workers.assets.wanted import RefusedError, Wanted

CONTENT = bytes(3 * 1024 * 1024)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Trusting:
    """Lets a client in so many times."""

    def __init__(self, times: int) -> None:
        self._times = times

    def verify(self, *_: Any) -> None:
        self._times -= 1
        if self._times < 0:
            raise PermissionDeniedError("its certificate was revoked")


def put(root: Path, trust: Trusting, receive: Callable[[], Any], uploads: bool = True, method: str = "PUT") -> int:
    """Return the status of an upload whose body is what is received."""
    store = AssetStore(str(root))
    staged = Uploads(store, root / ".uploads", len(CONTENT), 0, 60) if uploads else None
    server = UploadServer(staged, "org-1", lambda: trust, lambda name: name)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": f"/uploads/{CHECKSUM}/functions/{uuid.UUID(int=1)}/archive",
        "headers": [(b"content-length", str(len(CONTENT)).encode())],
        "query_string": b"",
        "state": {"presented": ()},
    }
    anyio.run(Starlette(routes=server.routes), scope, receive, send)
    return int(sent[0]["status"])


def pieces(*given: bytes) -> Callable[[], Any]:
    """Receive these, and then nothing for long."""
    left = list(given)

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


def come(root: Path) -> int:
    return (root / ".uploads" / f"{CHECKSUM}.partial").stat().st_size


def test_a_body_that_stalls_is_ended_and_what_has_come_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_server, "_STALLED_SECONDS", 0.05)
    monkeypatch.setattr(upload_server, "_PASSED_OVER_SECONDS", 0.05)

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": left.pop(), "more_body": True}

    left = [CONTENT[:1000], CONTENT[:1000]]
    assert put(tmp_path, Trusting(9), receive) == 408
    assert come(tmp_path) == 2000


def test_a_client_that_goes_away_leaves_what_has_come(tmp_path: Path) -> None:
    left = [CONTENT[:1000]]

    async def receive() -> Message:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(), "more_body": True}

    assert put(tmp_path, Trusting(9), receive) == 400
    assert come(tmp_path) == 1000


def test_a_certificate_that_does_not_hold_any_more_ends_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_server, "_RECHECK_SECONDS", -1.0)
    third = len(CONTENT) // 3
    parts = [CONTENT[:third], CONTENT[third : 2 * third], CONTENT[2 * third :]]
    assert put(tmp_path, Trusting(2), pieces(*parts)) == 403
    assert come(tmp_path) == 2 * third
    assert put(tmp_path, Trusting(9), pieces(*parts)) == 201


def test_the_store_that_has_no_place_for_uploads_takes_none(tmp_path: Path) -> None:
    for method in ("PUT", "GET"):
        assert put(tmp_path, Trusting(9), pieces(CONTENT), uploads=False, method=method) == 501


def test_a_disk_that_fills_up_meanwhile_keeps_what_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([10**12, 10**12, 10])
    usage = type("Usage", (), {"free": property(lambda _: next(free))})()
    monkeypatch.setattr("workers.assets.uploads.shutil.disk_usage", lambda _: usage)
    third = len(CONTENT) // 3
    assert put(tmp_path, Trusting(9), pieces(CONTENT[:third], CONTENT[third : 2 * third], CONTENT[2 * third :])) == 507
    assert come(tmp_path) == third


def test_a_disk_that_is_full_all_the_same_is_told_as_one(tmp_path: Path) -> None:
    """A quota, or another program, may take what seemed free."""
    with pytest.raises(RefusedError, match="is full") as caught, _room():
        raise OSError(errno.EDQUOT, "quota")
    assert caught.value.status == 507
    with pytest.raises(OSError, match="other"), _room():
        raise OSError(errno.EIO, "other")


def test_what_an_administrator_put_there_is_not_taken_for_an_upload(tmp_path: Path) -> None:
    name = f"data_samples/{uuid.UUID(int=1)}"
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "link").symlink_to("/etc/passwd")
    uploads = Uploads(AssetStore(str(tmp_path)), tmp_path / ".uploads", 100, 0, 60)
    with pytest.raises(RefusedError, match="nothing that was uploaded") as caught:
        uploads.offset(Wanted(name, CHECKSUM))
    assert caught.value.status == 409
