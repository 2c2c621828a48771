"""Archives that try to escape, fill the disk, or are no archives."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from workers.errors import BuildFault
from workers.functions import archive

LIMIT = 1024 * 1024


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    info.mode = 0o644
    return info


def make_tar(path: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def make_zip(path: Path, entries: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(info, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "outer" / "folder"
    made.mkdir(parents=True)
    return made


def refused(path: Path, folder: Path, match: str, limit: int = LIMIT) -> None:
    with pytest.raises(BuildFault, match=match):
        archive.unpack(path, folder, limit)
    assert list(folder.parent.iterdir()) == [folder]
    assert not any(found.is_symlink() for found in folder.rglob("*"))


def test_tar_is_unpacked_with_its_folders_and_executables(tmp_path: Path, folder: Path) -> None:
    script = member("./bin/run")
    script.mode = 0o4755
    make_tar(tmp_path / "a", member(".", kind=tarfile.DIRTYPE), member("./Dockerfile"), script)
    archive.unpack(tmp_path / "a", folder, LIMIT)
    assert (folder / "Dockerfile").read_bytes() == b"x"
    assert stat.S_IMODE((folder / "bin" / "run").stat().st_mode) == 0o755


def test_zip_is_unpacked_with_its_folders(tmp_path: Path, folder: Path) -> None:
    make_zip(tmp_path / "a", {"Dockerfile": b"x", "package/module.py": b"y"})
    archive.unpack(tmp_path / "a", folder, LIMIT)
    assert (folder / "package" / "module.py").read_bytes() == b"y"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..", "..\\evil", "C:/evil"])
def test_names_that_leave_the_folder_are_refused(name: str, tmp_path: Path, folder: Path) -> None:
    refused(make_tar(tmp_path / "a.tar.gz", member(name)), folder, "would leave its folder")
    refused(make_zip(tmp_path / "a.zip", {name: b"x"}), folder, "would leave its folder")


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "inside"),
        (tarfile.LNKTYPE, "inside"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, link: str, tmp_path: Path, folder: Path) -> None:
    packed = make_tar(tmp_path / "a", member("inside"), member("odd", kind=kind, link=link))
    refused(packed, folder, "'odd'.*links and devices are refused")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO | 0o600])
def test_links_and_devices_in_a_zip_are_refused(mode: int, tmp_path: Path, folder: Path) -> None:
    packed = make_zip(tmp_path / "a", {"odd": b"/etc/passwd"}, mode)
    refused(packed, folder, "'odd'.*links and devices are refused")


def test_bombs_are_refused_before_they_go_off(tmp_path: Path, folder: Path) -> None:
    content = bytes(LIMIT + 1)
    refused(make_zip(tmp_path / "b.zip", {"zeros": content}), folder, "more than 1048576 bytes.*'zeros'")
    packed = make_tar(tmp_path / "b.tar.gz", member("zeros", content), content=content)
    refused(packed, folder, "more than 1048576 bytes.*'zeros'")
    assert not list(folder.iterdir())


def test_many_files_count_together(tmp_path: Path, folder: Path) -> None:
    refused(make_zip(tmp_path / "b.zip", {str(n): bytes(100) for n in range(20)}), folder, "more than 1000", 1000)


def test_a_header_that_is_a_bomb_is_refused(tmp_path: Path, folder: Path) -> None:
    info = member("x")
    info.pax_headers = {"comment": "c" * (64 * LIMIT)}
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    refused(tmp_path / "a", folder, "unpacks to more than")


def test_too_many_entries_are_refused(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    refused(make_zip(tmp_path / "b.zip", {str(n): b"" for n in range(4)}), folder, "more than 3 entries")


def test_a_name_that_appears_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    refused(make_tar(tmp_path / "a", member("x"), member("./x")), folder, "appears twice")
    (folder / "x").unlink()
    refused(make_tar(tmp_path / "b", member("x"), member("x/y")), folder, "appears twice")


@pytest.mark.parametrize("name", ["a" * 256, "/".join(["a" * 200] * 6)])
def test_long_names_are_refused(name: str, tmp_path: Path, folder: Path) -> None:
    refused(make_tar(tmp_path / "a", member(name)), folder, "too long a name")


def test_what_is_no_archive_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a").write_bytes(b"#!/bin/sh\n")
    refused(tmp_path / "a", folder, "neither a tar.gz nor a zip")
    (tmp_path / "a").write_bytes(b"")
    refused(tmp_path / "a", folder, "neither a tar.gz nor a zip")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_damaged_archive_is_refused(kind: str, tmp_path: Path, folder: Path) -> None:
    content = os.urandom(100_000)
    if kind == "tar":
        packed = make_tar(tmp_path / "a", member("x", content), content=content)
    else:
        packed = make_zip(tmp_path / "a", {"x": content})
    packed.write_bytes(packed.read_bytes()[:50_000])
    refused(packed, folder, "damaged")
