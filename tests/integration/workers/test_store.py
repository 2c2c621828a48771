"""An organization's asset store, in a folder and in another place that fsspec knows."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from orchestrator.client.folders import checksum
from workers.assets.store import AssetStore, Stored

# Linux opens it, and refuses to read what lies at its beginning.
UNREADABLE = Path(f"/proc/{os.getpid()}/mem")


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AssetStore]:
    if request.param == "folder":
        yield AssetStore(str(tmp_path / "store"))
        return
    root = f"/{uuid.uuid4()}"
    yield AssetStore(f"memory:/{root}")
    for name in [name for name in MemoryFileSystem.store if name.startswith(root)]:
        del MemoryFileSystem.store[name]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


def content(store: AssetStore, name: str) -> bytes:
    file, size = store.open(name)
    with file:
        read = file.read()
    assert len(read) == size
    return read


def test_a_file_is_kept_replaced_and_deleted(store: AssetStore, source: Path) -> None:
    for text in (b"", b"first", b"second" * 500_000):
        source.write_bytes(text)
        assert store.put("models/m", source) == Stored("models/m", hashlib.sha256(text).hexdigest(), len(text))
        assert content(store, "models/m") == text
    store.delete("models/m")
    store.delete("models/m")
    assert not store.exists("models/m")
    with pytest.raises(FileNotFoundError):
        store.open("models/m")


@pytest.mark.skipif(not UNREADABLE.exists(), reason="needs a file of Linux that cannot be read")
def test_what_cannot_be_read_to_its_end_leaves_what_was_there(store: AssetStore, source: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        store.put("models/new", UNREADABLE)
    assert not store.exists("models/new")
    source.write_bytes(b"old")
    store.put("models/old", source)
    with pytest.raises(OSError, match="Input/output error"):
        store.put("models/old", UNREADABLE)
    assert content(store, "models/old") == b"old"


def test_a_data_sample_is_a_folder(store: AssetStore, source: Path, tmp_path: Path) -> None:
    for name in ("x.csv", "images/1.png"):
        source.write_text(name)
        store.put(f"data_samples/s/{name}", source)
    folder = store.folder("data_samples/s", tmp_path / "into")
    files = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert files == {"x.csv": "x.csv", "images/1.png": "images/1.png"}
    with pytest.raises(FileNotFoundError):
        store.folder("data_samples/other", tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        store.open("data_samples/s")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "models/../../secret", "models//m", "models\\m", "models/m\0", "."]
)
def test_what_is_no_name_of_an_asset_is_refused(store: AssetStore, source: Path, name: str) -> None:
    source.write_bytes(b"it")
    for use in (store.open, store.exists, store.delete, lambda name: store.put(name, source)):
        with pytest.raises(ValueError, match="is no name of an asset"):
            use(name)


def test_what_is_whole_is_moved_in_and_known_by_its_checksum(store: AssetStore, tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    known = hashlib.sha256(b"content").hexdigest()
    names = {"models/1": file, "data_samples/1": folder}
    expected = {"models/1": known, "data_samples/1": checksum([("a", known), ("inner/b", known)])}
    for _ in range(2):
        file.write_bytes(b"content")
        (folder / "inner").mkdir(parents=True, exist_ok=True)
        for inner in ("a", "inner/b"):
            (folder / inner).write_bytes(b"content")
        for name, source in names.items():
            if store.checksum(name) is None:
                store.take(name, source)
                assert not source.exists()
            else:
                with pytest.raises(FileExistsError):
                    store.take(name, source)
                assert source.exists()
            assert store.checksum(name) == expected[name]
