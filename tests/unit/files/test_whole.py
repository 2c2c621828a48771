"""Files that are written all at once."""

import os
import resource
import signal
from pathlib import Path

import pytest

from orchestrator.files import whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_bytes(b"old")
    return file


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_only_its_owner_reads_it_unless_that_is_said(file: Path):
    before = os.umask(0)
    try:
        whole.write(file, b"new")
        assert (file.read_bytes(), mode(file)) == (b"new", 0o600)
        os.umask(0o077)
        whole.write(file, b"newer", whole.PUBLIC)
        assert (file.read_bytes(), mode(file)) == (b"newer", 0o644)
    finally:
        os.umask(before)


def test_what_was_there_is_read_until_all_is_written(file: Path):
    with whole.replaced(file) as new:
        new.write(b"ne")
        new.flush()
        (draft,) = set(file.parent.iterdir()) - {file}
        assert (draft.read_bytes(), mode(draft)) == (b"ne", 0o600)
        assert file.read_bytes() == b"old"
        new.write(b"w")
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_a_block_that_ends_badly_leaves_what_was_there(file: Path):
    with pytest.raises(KeyboardInterrupt), whole.about_to_write(file, b"new"):
        raise KeyboardInterrupt
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_that_it_cannot_be_written_shows_before_the_block(tmp_path: Path):
    reached = []
    with pytest.raises(FileNotFoundError), whole.about_to_write(tmp_path / "missing" / "key", b"new"):
        reached.append(True)
    assert not reached


def test_a_full_disk_shows_before_the_block(tmp_path: Path):

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    reached = []
    try:
        with pytest.raises(OSError, match="large"), whole.about_to_write(tmp_path / "key", b"n" * 11):
            reached.append(True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not reached
    assert not list(tmp_path.iterdir())
