"""What tasks say, in the store: seen while they say it, the last attempt's first, and gone when it is old."""

import os
import time
import uuid
from pathlib import Path

import pytest
import structlog

from tests.kit.waiting import wait_until
from workers.assets import task_logs
from workers.assets.store import AssetStore, shareable
from workers.assets.task_logs import Copying

TASK = "11111111-2222-3333-4444-555555555555"


def content(store: AssetStore, name: str) -> bytes:
    file, _ = store.open(name)
    with file:
        return file.read()


@pytest.fixture
def store(tmp_path: Path) -> AssetStore:
    return AssetStore(str(tmp_path / "store"))


@pytest.fixture
def said(tmp_path: Path) -> Path:
    file = tmp_path / "log"
    file.touch()
    return file


@pytest.mark.parametrize("root", ["", "memory://logs"])
def test_what_is_said_is_there_soon_and_all_of_it_at_the_end(tmp_path: Path, said: Path, root: str) -> None:
    store = AssetStore(f"{root}/{uuid.uuid4()}" if root else str(tmp_path / "store"))
    name = task_logs.name(TASK, 1)
    with Copying(store, name, said, {}):
        assert not store.exists(name)
        said.write_bytes(b"one\n")
        wait_until(lambda: store.exists(name) and content(store, name) == b"one\n", timeout=60, message="the copy")
        with said.open("ab") as file:
            file.write(b"two\n" * 1000)
    assert content(store, name) == b"one\n" + b"two\n" * 1000
    assert task_logs.latest(store, f"task_logs/{TASK}") == name


def test_who_says_nothing_leaves_nothing(store: AssetStore, said: Path) -> None:
    with Copying(store, task_logs.name(TASK, 1), said, {}):
        pass
    assert store.names("task_logs") == []
    with pytest.raises(FileNotFoundError):
        task_logs.latest(store, f"task_logs/{TASK}")


def test_a_silent_attempt_does_not_speak_with_the_words_of_the_one_before(store: AssetStore, said: Path) -> None:
    store.append(task_logs.name(TASK, 9), b"of the ninth", 0)
    with Copying(store, task_logs.name(TASK, 10), said, {}, again=True):
        pass
    assert task_logs.latest(store, f"task_logs/{TASK}") == task_logs.name(TASK, 10)
    assert content(store, task_logs.name(TASK, 10)) == b""
    assert task_logs.latest(store, task_logs.name(TASK, 9)) == task_logs.name(TASK, 9)


def test_a_store_that_takes_nothing_does_not_hurt_the_task(tmp_path: Path, said: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    with (
        structlog.testing.capture_logs() as logs,
        Copying(AssetStore(str(tmp_path / "store")), "task_logs/a/1", said, {}),
    ):
        said.write_bytes(b"words")
    assert [entry["event"] for entry in logs] == ["task.log_not_copied"]


def test_a_link_in_place_of_the_log_is_not_followed(store: AssetStore, said: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    said.unlink()
    said.symlink_to(tmp_path / "secret")
    with Copying(store, task_logs.name(TASK, 1), said, {}):
        pass
    assert not store.exists(task_logs.name(TASK, 1))


def test_old_logs_are_removed_with_their_folders_and_no_other_file(store: AssetStore, tmp_path: Path) -> None:
    kept, old = f"logs/{TASK}-2", [f"logs/{TASK}-1", f"task_logs/{TASK}/1"]
    model = f"models/{TASK}"
    for name in (kept, *old, model):
        store.append(name, b"x", 0)
    for name in (*old, model):
        os.utime(tmp_path / "store" / name, (time.time() - 100, time.time() - 100))
    assert task_logs.remove_older(store, 50) == 2
    assert [name for name in (kept, *old, model) if store.exists(name)] == [kept, model]
    assert not (tmp_path / "store" / "task_logs" / TASK).exists()
    assert task_logs.remove_older(AssetStore(str(tmp_path / "nothing")), 50) == 0


@pytest.mark.parametrize(
    ("name", "may_be_asked_for"),
    [
        (f"task_logs/{TASK}", True),
        (f"task_logs/{TASK}/12", True),
        (f"task_logs/{TASK}/", False),
        (f"task_logs/{TASK}/x", False),
        (f"task_logs/{TASK}/1/2", False),
        ("task_logs", False),
    ],
)
def test_names(name: str, may_be_asked_for: bool) -> None:
    assert shareable(name) == may_be_asked_for
