"""Uploads to an organization's asset store, over real TLS, to a process that is cut off, filled up and killed."""

import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from orchestrator.client import Certificates
from orchestrator.client.folders import Tar, checksum, digest, files
from orchestrator.core import crash
from orchestrator.embedded.certificates import Layout, create_authority
from tests.kit.recorded import serving
from tests.kit.stores import Store, stored
from tests.kit.waiting import wait_until

OWNER, FRIEND = "org-1", "org-2"
MIB = 1024 * 1024
LIMIT = 8 * MIB


@pytest.fixture(scope="module")
def orchestrator() -> Iterator[str]:
    with serving() as (_, address):
        yield address


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, certificates: Layout, orchestrator: str) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("store")
    settings = {"ORCHESTRATOR_STORE_UPLOAD_LIMIT": str(LIMIT)}
    with stored(root, certificates, OWNER, orchestrator, settings) as store:
        yield store


@pytest.fixture
def owner(store: Store) -> Iterator[httpx.Client]:
    with store.peer(OWNER) as peer:
        yield peer


def archive() -> str:
    return f"functions/{uuid.uuid4()}/archive"


def path_of(name: str, content: bytes) -> str:
    return f"/uploads/{hashlib.sha256(content).hexdigest()}/{name}"


def partial(store: Store, content: bytes) -> Path:
    return store.root / ".uploads" / f"{hashlib.sha256(content).hexdigest()}.partial"


def rest(peer: httpx.Client, path: str, content: bytes, offset: int) -> httpx.Response:
    stated = {"Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"}
    return peer.put(path, content=content[offset:], headers=stated)


class Slow:
    """A body of which half is sent, and the rest when the test says so."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.half = len(content) // 2
        self.goes_on, self.breaks = threading.Event(), False

    def __iter__(self) -> Iterator[bytes]:
        yield self.content[: self.half]
        assert self.goes_on.wait(30)
        if self.breaks:
            raise ConnectionError("cut")
        yield self.content[self.half :]

    def send(self, store: Store, path: str) -> "Future[httpx.Response]":
        def put() -> httpx.Response:
            with store.peer(OWNER) as peer:
                return peer.put(path, content=iter(self), headers={"Content-Length": str(len(self.content))})

        pool = ThreadPoolExecutor(1)
        sending = pool.submit(put)
        pool.shutdown(wait=False)
        come = partial(store, self.content)
        try:
            wait_until(lambda: come.exists() and come.stat().st_size, timeout=60, message="a part of it to come")
        except BaseException:
            self.goes_on.set()
            raise
        return sending


def test_a_file_is_there_when_all_of_it_has_come(store: Store, owner: httpx.Client) -> None:
    name, content = archive(), os.urandom(2 * MIB)
    path = path_of(name, content)
    looked = owner.get(path, headers={"Upload-Length": str(len(content))})
    assert (looked.status_code, looked.json()) == (200, {"complete": False, "offset": 0})
    answer = owner.put(path, content=content)
    assert answer.status_code == 201
    assert answer.json() == {
        "complete": True,
        "checksum": hashlib.sha256(content).hexdigest(),
        "storage_address": f"{store.address}/{name}",
    }
    assert (store.root / name).read_bytes() == content
    assert (store.root / name).stat().st_mode & 0o777 == 0o600
    assert not partial(store, content).exists()
    again = owner.put(path, content=content)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert owner.head(path).headers["Upload-Complete"] == "?1"
    # It is served as all assets are: once the orchestrator knows it.
    assert owner.get(f"/{name}").status_code == 404


def test_nothing_that_is_there_is_replaced(store: Store, owner: httpx.Client) -> None:
    name = archive()
    assert owner.put(path_of(name, b"first"), content=b"first").status_code == 201
    for answer in (owner.get(path_of(name, b"other")), owner.put(path_of(name, b"other"), content=b"other")):
        assert (answer.status_code, "take a new key" in answer.json()["error"]) == (409, True)
    assert (store.root / name).read_bytes() == b"first"


def test_nobody_else_puts_anything_there(store: Store, tmp_path: Path) -> None:
    name, content = archive(), b"content"
    path = path_of(name, content)
    of_friend = create_authority(store.layout.root / "organizations" / FRIEND, FRIEND)
    forged = of_friend.issue(tmp_path, "forged", organization=OWNER, hosts=())
    for certificates in (
        store.layout.peer(FRIEND),
        Certificates(store.layout.peers, forged.certificate, forged.key),
    ):
        with store.peer_with(certificates) as peer:
            for answer in (peer.get(path), peer.put(path, content=content)):
                assert (answer.status_code, "only org-1 may put" in answer.json()["error"]) == (403, True)
    context = ssl.create_default_context(cafile=store.layout.peers)
    with httpx.Client(verify=context, trust_env=False, timeout=60) as peer, pytest.raises(httpx.TransportError):
        peer.put(f"{store.address}{path}", content=content)
    assert not (store.root / name).exists()
    assert not partial(store, content).exists()


def test_an_upload_that_was_cut_off_goes_on(store: Store, owner: httpx.Client) -> None:
    name, slow = archive(), Slow(os.urandom(4 * MIB))
    path = path_of(name, slow.content)
    sending = slow.send(store, path)
    slow.breaks = True
    slow.goes_on.set()
    with pytest.raises(ConnectionError):
        sending.result()
    assert not (store.root / name).exists()
    come = int(owner.head(path).headers["Upload-Offset"])
    assert 0 < come <= slow.half
    # Under another name too: a program that was started anew has made another key.
    name = archive()
    path = path_of(name, slow.content)
    too_far = rest(owner, path, slow.content, come + 1)
    assert (too_far.status_code, too_far.headers["Upload-Offset"]) == (409, str(come))
    answer = wait_until(
        lambda: answered(rest(owner, path, slow.content, come)), timeout=60, message="the store to let go"
    )
    assert answer.status_code == 201
    assert (store.root / name).read_bytes() == slow.content


def answered(answer: httpx.Response) -> httpx.Response | None:
    return None if answer.status_code == 503 else answer


def test_two_that_send_the_same_at_once_do_not_mix(store: Store, owner: httpx.Client) -> None:
    name, slow = archive(), Slow(os.urandom(4 * MIB))
    path = path_of(name, slow.content)
    sending = slow.send(store, path)
    busy = owner.put(path, content=slow.content)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    slow.goes_on.set()
    assert sending.result().status_code == 201
    assert owner.put(path, content=slow.content).status_code == 200
    assert (store.root / name).read_bytes() == slow.content


def test_many_at_once_of_the_same_and_of_others(store: Store) -> None:
    contents = [os.urandom(MIB), os.urandom(10), b""]
    name = archive()

    def send(number: int) -> int:
        content = contents[number % 3]
        named = name if number % 3 == 0 else archive()
        with store.peer(OWNER) as peer:
            return wait_until(
                lambda: answered(peer.put(path_of(named, content), content=content)), timeout=60, message="its turn"
            ).status_code

    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(send, range(60)))
    assert set(codes) <= {200, 201}
    assert (store.root / name).read_bytes() == contents[0]
    assert not list((store.root / ".uploads").glob("*.folder"))


def test_what_is_not_what_it_should_be_is_forgotten(store: Store, owner: httpx.Client) -> None:
    name, content = archive(), b"content"
    answer = owner.put(path_of(name, b"another"), content=content)
    assert (answer.status_code, "has the checksum" in answer.json()["error"]) == (422, True)
    assert not (store.root / name).exists()
    assert not partial(store, b"another").exists()


@pytest.mark.parametrize(
    "path",
    [
        f"/uploads/{'0' * 64}/models/{uuid.UUID(int=1)}",
        f"/uploads/{'0' * 64}/logs/{uuid.UUID(int=1)}-1",
        f"/uploads/{'0' * 64}/functions/{uuid.UUID(int=1)}/other",
        f"/uploads/{'0' * 64}/data_samples/{uuid.UUID(int=1)}/file.csv",
        f"/uploads/{'0' * 64}/data_samples/..%2f..%2fescaped",
        f"/uploads/{'0' * 63}/functions/{uuid.UUID(int=1)}/archive",
        f"/uploads/..%2f{'0' * 61}/functions/{uuid.UUID(int=1)}/archive",
        f"/uploads/{'A' * 64}/functions/{uuid.UUID(int=1)}/archive",
    ],
)
def test_only_assets_of_people_are_uploaded(store: Store, owner: httpx.Client, path: str) -> None:
    assert owner.put(path, content=b"content").status_code in (404, 405)
    assert not [file for file in store.root.rglob("*") if file.is_file() and file.read_bytes() == b"content"]


def test_what_is_too_large_is_refused_beforehand(store: Store, owner: httpx.Client) -> None:
    content = bytes(LIMIT + 1)
    path = path_of(archive(), content)
    answer = owner.get(path, headers={"Upload-Length": str(len(content))})
    assert (answer.status_code, f"takes {LIMIT} at most" in answer.json()["error"]) == (413, True)
    begun = {"Content-Range": f"bytes {LIMIT}-{LIMIT}/{LIMIT + 1}"}
    assert owner.put(path, content=b"0", headers=begun).status_code in (409, 413)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Range": "bytes 0-6/8"}, 400),
        ({"Content-Range": "bytes 1-6/7"}, 400),
        ({"Content-Range": "lines 0-6/7"}, 400),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_odd_requests_are_refused(owner: httpx.Client, headers: dict[str, str], status: int) -> None:
    content = iter([b"content"]) if "Transfer-Encoding" in headers else b"content"
    answer = owner.put(path_of(archive(), b"content"), content=content, headers=headers)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def folder_of(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "sample"
    (folder / "inner").mkdir(parents=True)
    (folder / "patients.csv").write_bytes(os.urandom(1000))
    (folder / "inner" / "é.bin").write_bytes(os.urandom(2 * MIB))
    return folder, checksum((file.name, digest(file.path)) for file in files(folder))


def test_a_data_sample_comes_as_a_tar_archive(store: Store, owner: httpx.Client, tmp_path: Path) -> None:
    folder, known = folder_of(tmp_path)
    tar = Tar(files(folder))
    key = uuid.uuid4()
    path = f"/uploads/{known}/data_samples/{key}"
    answer = owner.put(path, content=tar.chunks(), headers={"Content-Length": str(tar.size)})
    assert (answer.status_code, answer.json()["storage_address"]) == (201, "")
    there = store.root / "data_samples" / str(key)
    assert {file.name: digest(file.path) for file in files(there)} == {
        file.name: digest(file.path) for file in files(folder)
    }
    assert owner.put(path, content=b"").status_code == 200
    assert owner.put(f"/uploads/{'1' * 64}/data_samples/{key}", content=b"").status_code == 409
    # Whatever tar made it, what counts is what is in it.
    packed = subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True).stdout
    assert owner.put(f"/uploads/{known}/data_samples/{uuid.uuid4()}", content=packed).status_code == 201
    wrong = owner.put(f"/uploads/{'1' * 64}/data_samples/{uuid.uuid4()}", content=packed)
    assert (wrong.status_code, known in wrong.json()["error"]) == (422, True)
    left = sorted(path.name for path in (store.root / ".uploads").iterdir())
    assert left == ["unnamed"]
    assert f"data_samples%2F{key}" in {note.name for note in (store.root / ".uploads" / "unnamed").iterdir()}


def test_the_disk_stays_free(tmp_path: Path, certificates: Layout, orchestrator: str) -> None:
    reserve = shutil.disk_usage(tmp_path).total
    settings = {"ORCHESTRATOR_STORE_DISK_RESERVE": str(reserve)}
    with stored(tmp_path, certificates, OWNER, orchestrator, settings) as store, store.peer(OWNER) as peer:
        path = path_of(archive(), b"content")
        for answer in (peer.get(path, headers={"Upload-Length": "7"}), peer.put(path, content=b"content")):
            assert (answer.status_code, "is nearly full" in answer.json()["error"]) == (507, True)


def test_a_store_that_may_not_write_serves_all_the_same(
    tmp_path: Path, certificates: Layout, orchestrator: str
) -> None:
    # A file where the folder for uploads would be: root may write to any folder.
    (tmp_path / ".uploads").touch()
    with stored(tmp_path, certificates, OWNER, orchestrator) as store, store.peer(OWNER) as peer:
        answer = peer.put(path_of(archive(), b"content"), content=b"content")
        assert (answer.status_code, "takes no uploads" in answer.json()["error"]) == (501, True)
        assert peer.get(f"/models/{uuid.uuid4()}").status_code == 404


def test_a_store_elsewhere_takes_what_is_whole(tmp_path: Path, certificates: Layout, orchestrator: str) -> None:
    settings = {"ORCHESTRATOR_STORE_ROOT": "memory://store"}
    name, content = archive(), os.urandom(MIB)
    with stored(tmp_path, certificates, OWNER, orchestrator, settings) as store, store.peer(OWNER) as peer:
        assert peer.put(path_of(name, content), content=content).status_code == 501
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    settings["ORCHESTRATOR_STORE_UPLOADS"] = str(uploads)
    folder, known = folder_of(tmp_path)
    sample = f"/uploads/{known}/data_samples/{uuid.uuid4()}"
    with stored(tmp_path, certificates, OWNER, orchestrator, settings) as store, store.peer(OWNER) as peer:
        for path, body in ((path_of(name, content), content), (sample, b"".join(Tar(files(folder)).chunks()))):
            assert [peer.put(path, content=body).status_code for _ in range(2)] == [201, 200]
            other = path.replace(path.split("/")[2], "1" * 64)
            assert peer.put(other, content=body).status_code == 409
    assert [path.name for path in uploads.iterdir()] == ["unnamed"]


def test_an_upload_outlives_the_store(tmp_path: Path, certificates: Layout, orchestrator: str) -> None:
    name, slow = archive(), Slow(os.urandom(4 * MIB))
    path = path_of(name, slow.content)
    with stored(tmp_path, certificates, OWNER, orchestrator) as store:
        sending = slow.send(store, path)
        store.process.send_signal(signal.SIGKILL)
        store.process.wait(60)
        slow.goes_on.set()
        with pytest.raises(httpx.TransportError):
            sending.result()
    assert not (tmp_path / name).exists()
    # Then it dies when all has come, before it is moved in.
    settings = {crash.VARIABLE: "store.upload_verified"}
    with stored(tmp_path, certificates, OWNER, orchestrator, settings) as store, store.peer(OWNER) as peer:
        come = peer.get(path).json()["offset"]
        assert 0 < come <= slow.half
        with pytest.raises(httpx.TransportError):
            rest(peer, path, slow.content, come)
        store.process.wait(60)
    assert not (tmp_path / name).exists()
    with stored(tmp_path, certificates, OWNER, orchestrator) as store, store.peer(OWNER) as peer:
        assert peer.get(path).json()["offset"] == len(slow.content)
        assert rest(peer, path, slow.content, len(slow.content) - 1).status_code == 201
    assert (tmp_path / name).read_bytes() == slow.content
    assert [path.name for path in (tmp_path / ".uploads").iterdir()] == ["unnamed"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_sends_and_goes_on(store: Store, tmp_path: Path) -> None:
    name, content = archive(), os.urandom(3 * MIB)
    source = tmp_path / "archive.zip"
    source.write_bytes(content)
    certificates = store.layout.peer(OWNER)
    url = f"{store.address}{path_of(name, content)}"
    files = ("--cacert", certificates.authority, "--cert", certificates.certificate, "--key", certificates.key)

    def curl(*words: object) -> str:
        command = ["curl", "--silent", "--show-error", "--fail", *files, *words, url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    partial(store, content).write_bytes(content[:MIB])
    assert f"upload-offset: {MIB}" in curl("--head").lower()
    assert '"complete":true' in curl("--continue-at", str(MIB), "--upload-file", source)
    assert (store.root / name).read_bytes() == content
