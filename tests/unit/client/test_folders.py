"""Folders that become assets: which files count, their checksum, and the bytes that are sent."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client.folders import FolderError, Tar, checksum, digest, fault_of_name, files, pack

PARTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/\\:"), min_size=1)
NAMES = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
FOLDERS = st.dictionaries(NAMES.filter(lambda name: len(name.encode()) < 200), st.binary(max_size=1500), max_size=5)


def write(folder: Path, content: dict[str, bytes]) -> bool:
    """Write files; say whether they can lie beside one another."""
    try:
        for name, data in content.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return False
    return True


def checksum_of(folder: Path) -> str:
    return checksum((file.name, digest(file.path)) for file in files(folder))


def packed(folder: Path) -> bytes:
    archive = io.BytesIO()
    pack(folder, archive)
    return archive.getvalue()


@given(content=FOLDERS, part=st.floats(0, 1))
def test_a_tar_may_be_sent_from_any_byte_on(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], part: float
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    if not write(folder, content):
        return
    tar = Tar(files(folder))
    whole = b"".join(tar.chunks())
    assert len(whole) == tar.size
    offset = int(part * tar.size)
    assert b"".join(tar.chunks(offset)) == whole[offset:]
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
        found = {member.name: opened.extractfile(member).read() for member in opened}
    assert found == content


@given(content=FOLDERS)
def test_the_checksum_is_that_of_names_and_contents(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    if not (write(one, content) and write(other, dict(reversed(content.items())))):
        return
    os.utime(other, (0, 0))
    (other / "empty").mkdir(exist_ok=True)
    assert checksum_of(one) == checksum_of(other)
    write(other, {"one more": b""})
    assert checksum_of(one) != checksum_of(other)


def test_the_checksum_of_a_known_folder(tmp_path: Path) -> None:
    """Of the recipe in docs/services/data_sample.md, worked out with other tools."""
    write(tmp_path, {"b.txt": b"2", "a/c.txt": b"1"})
    assert checksum_of(tmp_path) == "87ce31952757ab0715936c9594640c68ed97798fbfb40e258d859f2d54876b87"


def test_a_file_that_grows_while_it_is_sent_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, {"file": b"1234"})
    tar = Tar(files(tmp_path))
    for size in (3, 5):
        (tmp_path / "file").write_bytes(bytes(size))
        with pytest.raises(FolderError, match="file changed while it was sent"):
            list(tar.chunks())


def test_an_archive_is_the_same_whenever_and_wherever_it_is_packed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        write(folder, {"Dockerfile": b"FROM x", "inner/function.py": b"pass"})
    left_out = {"__pycache__/function.pyc": b"1", ".git/HEAD": b"2", "inner/old.pyc": b"3", ".venv/bin/python": b"4"}
    write(other, left_out)
    os.utime(other / "Dockerfile", (0, 0))
    assert packed(one) == packed(other)
    with zipfile.ZipFile(io.BytesIO(packed(one))) as opened:
        assert opened.namelist() == ["Dockerfile", "inner/function.py"]
    original = packed(one)
    (one / "Dockerfile").write_bytes(b"FROM y")
    edited = packed(one)
    (one / "Dockerfile").rename(one / "Containerfile")
    assert len({original, edited, packed(one)}) == 3


def test_a_link_within_the_folder_stands_for_its_file(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"content"})
    (tmp_path / "b").symlink_to("a")
    assert [(file.name, file.path.read_bytes()) for file in files(tmp_path)] == [("a", b"content"), ("b", b"content")]


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("../outside", "leaves its folder"),
        ("/etc/passwd", "leaves its folder"),
        ("nowhere", "no file"),
        (".", "no file"),
    ],
)
def test_other_links_are_refused(tmp_path: Path, target: str, fault: str) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "folder"
    write(folder, {"file": b""})
    (folder / "link").symlink_to(target)
    with pytest.raises(FolderError, match=f"link is a link .*{fault}"):
        files(folder)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is no folder"):
        files(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="has no files"):
        packed(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FolderError, match="pipe is neither a file nor a folder"):
        files(tmp_path)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\\b", "c:/d", "", "a//b", "../a", "a/..", "./a", "x" * 256, "a/" * 600 + "a"]
)
def test_names_that_lead_elsewhere_have_a_fault(name: str) -> None:
    assert fault_of_name(name)


@pytest.mark.parametrize("name", ["a", "a b/c.txt", "é/ñ", "..a", "a:b/c"[2:]])
def test_other_names_have_none(name: str) -> None:
    assert fault_of_name(name) is None
