"""Files that are read again when they change."""

import os
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from orchestrator.files.watched import Watched


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "number"
    file.write_text("1")
    return file


@pytest.fixture(autouse=True)
def configured() -> None:
    structlog.configure()


def watched(file: Path) -> Watched[int]:
    return Watched("number", lambda: [file], lambda: int(file.read_text()))


def test_what_has_changed_is_read_again_and_nothing_else(file: Path):
    number = watched(file)
    file.write_text("2")
    with capture_logs() as log:
        assert (number.value, number.look(), number.look()) == (1, 2, 2)
    assert [line["event"] for line in log] == ["number.reloaded"]


def test_a_copy_with_the_same_times_and_size_is_seen(file: Path):
    number, times = watched(file), file.stat()
    file.write_text("2")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert number.look() == 2


def test_what_cannot_be_read_is_told_once_and_what_was_read_stays(file: Path):
    number = watched(file)
    with capture_logs() as log:
        file.write_text("two")
        assert (number.look(), number.look()) == (1, 1)
        file.unlink()
        assert (number.look(), number.look()) == (1, 1)
        file.write_text("3")
        assert number.look() == 3
    assert [line["event"] for line in log] == ["number.not_reloaded", "number.not_reloaded", "number.reloaded"]
    assert "'two'" in log[0]["error"]


def test_whatever_reading_raises_it_ends_nobody(file: Path):
    broken = False

    def read() -> int:
        if broken:
            raise TypeError("odd")
        return 1

    number = Watched("number", lambda: [file], read)
    file.write_text("two")
    broken = True
    with capture_logs() as log:
        assert number.look() == 1
    assert log[0]["error"] == "TypeError('odd')"


def test_what_cannot_be_read_at_the_start_is_an_error(file: Path):
    file.write_text("one")
    with pytest.raises(ValueError, match="one"):
        watched(file)


def test_a_file_may_be_absent_where_reading_says_what_that_means(file: Path):
    def read() -> int:
        return int(file.read_text()) if file.exists() else 0

    number = Watched("number", lambda: [file], read)
    file.unlink()
    with capture_logs() as log:
        assert (number.look(), number.look()) == (0, 0)
        file.write_text("2")
        assert number.look() == 2
    assert [line["event"] for line in log] == ["number.reloaded", "number.reloaded"]


def test_something_may_hold_until_the_files_were_good_once(file: Path):
    file.write_text("one")
    number = Watched("number", lambda: [file], lambda: int(file.read_text()), until=0)
    with capture_logs() as log:
        assert (number.value, number.look(), number.look()) == (0, 0, 0)
        file.write_text("1")
        assert (number.look(), number.look()) == (1, 1)
        file.write_text("two")
        assert number.look() == 1
    assert [line["event"] for line in log] == ["number.not_reloaded", "number.not_reloaded"]
