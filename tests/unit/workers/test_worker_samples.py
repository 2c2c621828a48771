"""Data samples that are sent as tar archives, good ones and others."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.client.folders import Tar, checksum, digest, files
from workers.assets.samples import SampleError, unpack
from workers.assets.store import AssetStore
from workers.assets.uploads import Uploads

PARTS = st.text("abcé .-_0", min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
FOLDERS = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.binary(max_size=700), min_size=1, max_size=4
)


def fine() -> None:
    """The disk has room."""


@settings(max_examples=40)
@given(content=FOLDERS)
def test_what_is_unpacked_has_the_checksum_of_what_was_packed(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]
) -> None:
    folder, copy = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("copy")
    try:
        for name, data in content.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return
    found = files(folder)
    assert unpack(io.BytesIO(b"".join(Tar(found).chunks())), copy, fine) == checksum(
        (file.name, digest(file.path)) for file in found
    )
    assert {file.name: file.path.read_bytes() for file in files(copy)} == content


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    return archive


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def long_header() -> io.BytesIO:
    info = member("file")
    info.pax_headers = {"comment": "x" * 3 * 1024 * 1024}
    return io.BytesIO(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        (packed(), "has no files"),
        (io.BytesIO(b"no tar at all"), "is no tar archive"),
        (io.BytesIO(b"\x1f\x8b" + bytes(1000)), "is no tar archive"),
        (io.BytesIO(packed((member("a"), b"1234" * 1000)).getvalue()[:2000]), "a damaged one"),
        (packed((member("../a"), b"")), "leads elsewhere"),
        (packed((member("/a"), b"")), "leads elsewhere"),
        (packed((member("a/../../b"), b"")), "leads elsewhere"),
        (packed((member("a\nb"), b"")), "letters that not every system can write"),
        (packed((member("a", tarfile.SYMTYPE, "/etc/passwd"), b"")), "links are refused"),
        (packed((member("a"), b""), (member("b", tarfile.LNKTYPE, "a"), b"")), "links are refused"),
        (packed((member("a", tarfile.FIFOTYPE), b"")), "neither a file nor a folder"),
        (packed((member("a", tarfile.CHRTYPE), b"")), "neither a file nor a folder"),
        (packed((member("a"), b"1"), (member("a"), b"2")), "is there twice"),
        (packed((member("a"), b"1"), (member("./a"), b"2")), "is there twice"),
        (packed((member("a"), b"1"), (member("a/b"), b"2")), "a file and a folder of one name"),
        (long_header(), "a header of more than"),
    ],
)
def test_what_could_leave_the_folder_or_is_no_sample_is_refused(
    tmp_path: Path, archive: io.BytesIO, complaint: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SampleError, match=complaint):
        unpack(archive, folder, fine)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_stops_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"):
        unpack(packed((member("a"), b"1")), tmp_path, lambda: (_ for _ in ()).throw(OSError("full")))


def test_what_nobody_went_on_with_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    uploads = Uploads(AssetStore(str(tmp_path)), folder, limit=100, reserve=0, age=60)
    before = time.time() - 61
    for name in ("old.partial", "new.partial", "another"):
        (folder / name).write_bytes(b"content")
    for name in ("old.folder", "new.folder"):
        (folder / name / "inner").mkdir(parents=True)
    for name in ("old.partial", "old.folder", "another"):
        os.utime(folder / name, (before, before))
    assert uploads.remove_old() == 2
    assert sorted(path.name for path in folder.iterdir()) == ["another", "new.folder", "new.partial"]
