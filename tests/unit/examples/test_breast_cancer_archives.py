"""The archives of the example's functions."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from examples.breast_cancer import FUNCTIONS
from examples.breast_cancer.archives import pack


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getnames()


def copy_of(function: str, folder: Path) -> Path:
    # Another test may be compiling the original right now.
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(FUNCTIONS / function, folder / function, ignore=ignored, copy_function=shutil.copy)


@pytest.mark.parametrize("function", ["train", "aggregate", "test"])
def test_an_archive_holds_the_function_and_its_dockerfile(function: str) -> None:
    assert names(pack(FUNCTIONS / function)) == ["Dockerfile", "function.py"]


def test_dates_modes_and_compiled_files_do_not_change_an_archive(tmp_path) -> None:
    copy = copy_of("train", tmp_path)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "function.pyc").write_bytes(b"compiled")
    (copy / "function.py").chmod(0o755)
    os.utime(copy / "Dockerfile", (0, 0))
    assert pack(copy) == pack(FUNCTIONS / "train")


def test_contents_and_names_change_an_archive(tmp_path) -> None:
    original = pack(FUNCTIONS / "train")
    copy = copy_of("train", tmp_path)
    (copy / "function.py").write_text("pass\n")
    edited = pack(copy)
    (copy / "function.py").rename(copy / "other.py")
    assert len({original, edited, pack(copy)}) == 3


def test_files_in_subfolders_are_packed(tmp_path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "table.json").write_text("{}")
    assert names(pack(tmp_path)) == ["inner/table.json"]


@pytest.mark.parametrize("target", ["function.py", "nowhere", "."])
def test_a_link_is_not_packed(tmp_path, target: str) -> None:
    (tmp_path / "function.py").write_text("pass\n")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ValueError, match="link is neither a file nor a folder"):
        pack(tmp_path)
