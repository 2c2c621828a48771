"""What a node that is gone has left, taken over by another node of its organization: real processes, real locks."""

import os
import threading
import time
import uuid
from pathlib import Path

import pytest
import structlog.testing

from orchestrator import protos as pb
from orchestrator.embedded.valkey import Valkey
from tests.kit.node import node
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers import adoption, folder, orders, processes
from workers.adoption import ABANDONED_SECONDS, Adoption
from workers.folder import WorkingFolder
from workers.orders import Kind
from workers.record import Record


def renamed(world: World, name: str = "node-2") -> Path:
    """Give the world's worker another name; return the folder of the old one."""
    old = world.settings.node_folder
    world.settings.node = name
    return old


def untouched(path: Path, seconds: float = ABANDONED_SECONDS + 1) -> None:
    """Let time pass since a folder was touched."""
    past = time.time() - seconds
    os.utime(path, (past, past))


def owned(world: World, task: str) -> WorkingFolder:
    running = pb.Attempt(compute_task_key=task, number=1, token=f"token of {task}")
    return WorkingFolder(world.settings.node_folder, task, Record.of_attempt(running, "known"))


def adopt(world: World) -> None:
    adoption = Adoption(world.settings)
    adoption.touch()
    adoption.run()


def killed_in_an_attempt(world: World) -> None:
    """Kill the process of an attempt while its function runs, with nobody there to bury it."""
    started = world.seen / "started"
    claim = world.claim(world.function(f"pathlib.Path({str(started)!r}).touch(); time.sleep(600)"))
    # Nobody renews it.
    claim.lease.FromSeconds(60)
    with world.process():
        wait_until(started.exists, timeout=30, message="the function to run")
    (place,) = folder.places(world.settings.node_folder)
    wait_until(lambda: not place.lives(), message="the function to end")


def test_an_attempt_is_reported_lost_and_its_folder_removed(world: World) -> None:
    killed_in_an_attempt(world)
    (world.settings.node_folder / "without an owner").mkdir()
    old = renamed(world)
    untouched(old)
    with world.heart():
        wait_until(lambda: world.recorded.failed, timeout=30, message="the report")
        wait_until(lambda: not old.exists() and not world.files, message="all folders to be removed")
    (lost,) = world.recorded.failed
    assert (lost.attempt.compute_task_key, lost.attempt.token, lost.lost) == (world.task, "token", True)


def test_by_a_whole_worker_at_its_start(world: World, valkey: Valkey) -> None:
    world.settings.organization = f"org-{uuid.uuid4()}"
    killed_in_an_attempt(world)
    old = renamed(world)
    untouched(old)
    with node(world, valkey.url):
        wait_until(lambda: world.recorded.failed, timeout=30, message="the report")
        wait_until(lambda: not old.exists() and not world.files, message="all folders to be removed")


def test_a_receipt_that_was_not_delivered_is(world: World) -> None:
    with owned(world, world.task) as working:
        working.stopped = True
    old = renamed(world)
    untouched(old)
    with world.heart():
        wait_until(lambda: world.recorded.stopped, message="the receipt")
        wait_until(lambda: not old.exists() and not world.files, message="all folders to be removed")
    assert not world.recorded.failed


def test_an_order_to_stop_is_taken_along(world: World) -> None:
    killed_in_an_attempt(world)
    (place,) = folder.places(world.settings.node_folder)
    orders.give(place, Kind.STOP, "the plan was cancelled")
    old = renamed(world)
    untouched(old)
    with world.heart():
        wait_until(lambda: world.recorded.stopped or world.recorded.failed, message="the receipt")
        wait_until(lambda: not old.exists() and not world.files, message="all folders to be removed")
    assert not world.recorded.failed


def test_what_lives_is_left_alone_however_long_it_was_not_touched(world: World) -> None:
    with owned(world, world.task) as working:
        old = renamed(world)
        untouched(old)
        adopt(world)
        assert working.path.is_dir()
        assert working.place.lives()
        assert not world.files


def test_what_was_touched_lately_is_left_alone_whoever_holds_its_locks(world: World) -> None:
    """Two machines may not see each other's locks."""
    killed_in_an_attempt(world)
    old = renamed(world)
    untouched(old, ABANDONED_SECONDS - 60)
    adopt(world)
    assert not world.files
    assert len(list(old.glob("*.owner"))) == 1


def test_a_node_that_lives_touches_its_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "PERIOD_SECONDS", 0.1)
    with world.heart():
        wait_until(world.settings.node_folder.exists, message="its folder")
        untouched(world.settings.node_folder)
        wait_until(
            lambda: world.settings.node_folder.stat().st_mtime > time.time() - 60, message="its folder to be touched"
        )


def test_a_node_touches_its_folder_while_something_is_buried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "PERIOD_SECONDS", 0.1)
    buried = threading.Event()
    monkeypatch.setattr(processes, "end_strays", lambda _: buried.wait(30))
    try:
        with owned(world, world.task) as working:
            working.unsettled = True
        untouched(world.settings.node_folder)
        with world.heart():
            wait_until(
                lambda: world.settings.node_folder.stat().st_mtime > time.time() - 60, message="the folder's touch"
            )
            assert working.path.is_dir()
            buried.set()
    finally:
        buried.set()


def test_an_adoption_that_fails_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(Adoption, "run", fails)
    with structlog.testing.capture_logs() as logs, world.heart():
        wait_until(lambda: [entry for entry in logs if entry["event"] == "folder.not_buried"], message="the word")
    assert "a fault of ours" in str(logs)


def test_the_folders_of_other_organizations_are_not_ours(world: World) -> None:
    for name in ("org-2@node-1", "org-10@node-1", "org-1"):
        other = world.settings.work_dir / name
        other.mkdir(parents=True)
        untouched(other)
    link = world.settings.work_dir / "org-1@link"
    link.symlink_to(world.root)
    adopt(world)
    assert len(list(world.settings.work_dir.iterdir())) == 5
    assert world.store.parent == world.root


def test_a_crash_in_the_middle_loses_nothing(world: World) -> None:
    """The folder was moved, its owner's file was not yet."""
    killed_in_an_attempt(world)
    old = renamed(world)
    (place,) = folder.places(old)
    world.settings.node_folder.mkdir()
    place.folder.rename(world.settings.node_folder / place.folder.name)
    untouched(old)
    with world.heart():
        wait_until(lambda: world.recorded.failed, message="the report")
        wait_until(lambda: not old.exists() and not world.files, message="all folders to be removed")


def test_two_nodes_at_once_report_it_once(world: World) -> None:
    killed_in_an_attempt(world)
    old = renamed(world)
    untouched(old)
    with world.heart():
        renamed(world, "node-3")
        with world.heart():
            wait_until(lambda: world.recorded.failed, timeout=30, message="the report")
            wait_until(lambda: not old.exists(), message="the folder to be removed")
    assert len(world.recorded.failed) == 1


def test_a_folder_that_cannot_be_moved_is_told_and_stays(world: World) -> None:
    killed_in_an_attempt(world)
    old = renamed(world)
    untouched(old)
    (place,) = folder.places(old)
    # As if it were on another file system: nothing can be moved onto a folder that is not empty.
    taken = world.settings.node_folder / place.folder.name
    taken.mkdir(parents=True)
    (taken / "something").touch()
    with structlog.testing.capture_logs() as logs:
        adopt(world)
    assert [(entry["event"], entry["folder"]) for entry in logs] == [("node.not_adopted", str(old))]
    assert place.owner.exists()
    assert place.folder.is_dir()
