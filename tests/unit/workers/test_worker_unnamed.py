"""Uploads that no asset names: they go after a time, and nothing else does."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import structlog

from orchestrator.client import CallError
from workers.assets.store import AssetStore
from workers.assets.unnamed import Unnamed
from workers.assets.uploads import Uploads
from workers.assets.wanted import Wanted

AGE = 100.0
KEY = "00000000-0000-4000-8000-00000000000"


class Kept:
    """A store into which files are uploaded, and an orchestrator that knows some of their keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: set[str] = set()
        self.asked: list[str] = []
        self.meanwhile: Callable[[str], None] = lambda name: None
        self.store = AssetStore(str(root))
        self.notes = root / ".uploads" / "unnamed"
        self.unnamed = Unnamed(self.store, self.notes, AGE, self.named)
        self.uploads = Uploads(self.store, root / ".uploads", 1000, 0, 60.0, self.unnamed)

    def named(self, name: str) -> bool:
        self.asked.append(name)
        answer = name in self.known
        self.meanwhile(name)
        return answer

    def upload(self, number: int, content: bytes = b"content") -> str:
        wanted = self.wanted(number, content)
        with self.uploads.begin(wanted, 0, len(content)) as upload:
            if upload is not None:
                upload.write(content)
                upload.finish()
        return wanted.name

    def wanted(self, number: int, content: bytes = b"content") -> Wanted:
        return Wanted(f"functions/{KEY}{number}/archive", hashlib.sha256(content).hexdigest())

    def grow_old(self) -> None:
        before = time.time() - AGE - 1
        for note in self.notes.iterdir():
            os.utime(note, (before, before))

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_what_nobody_has_registered_goes_after_its_time_and_nothing_else(kept: Kept) -> None:
    old, named = kept.upload(1), kept.upload(2)
    by_hand = f"functions/{KEY}3/archive"
    (kept.root / by_hand).parent.mkdir()
    (kept.root / by_hand).write_text("put here by an administrator")
    sample = kept.root / "data_samples" / f"{KEY}4"
    (sample / "inner").mkdir(parents=True)
    (sample / "inner" / "rows").write_text("1")
    kept.unnamed.note(f"data_samples/{KEY}4")
    kept.known.add(named)
    with structlog.testing.capture_logs() as logs:
        assert kept.unnamed.look() == 0
    assert [(each["count"], each["removed"]) for each in logs if each["event"] == "uploads.unnamed"] == [(2, 0)]
    # What was seen to be named once is never asked for again.
    kept.known.clear()
    kept.grow_old()
    young = kept.upload(5)
    assert kept.unnamed.look() == 2
    assert [kept.has(name) for name in (old, named, by_hand, young)] == [False, True, True, True]
    assert not sample.exists()
    assert kept.asked.count(named) == 1
    assert not any((kept.root / "removed").glob("*"))
    assert kept.unnamed.look() == 0


def test_what_is_asked_for_or_registered_at_that_moment_stays(kept: Kept) -> None:
    def ask(name: str) -> None:
        number = int(name.split("/")[1][-1])
        if kept.asked.count(name) == 1 or number == 2:
            answers.append(kept.uploads.offset(kept.wanted(number)))

    answers: list[int | None] = []
    first, second = kept.upload(1), kept.upload(2)
    kept.grow_old()
    kept.meanwhile = ask
    assert kept.unnamed.look() == 0
    assert kept.has(first)
    assert kept.has(second)
    # All is there; and, while it was set aside, nothing is.
    assert answers == [None, None, 0]
    kept.meanwhile = lambda name: kept.known.add(name)
    kept.grow_old()
    assert kept.unnamed.look() == 0
    assert kept.has(first)


def test_what_a_killed_process_has_set_aside_is_put_back(kept: Kept) -> None:
    name = kept.upload(1)
    kept.known.add(name)
    kept.store.move(name, f"removed/functions%2F{KEY}1%2Farchive")
    assert not kept.has(name)
    kept.unnamed.look()
    assert kept.has(name)


def test_nothing_is_removed_where_nobody_says_what_is_named_or_the_setting_keeps_all(kept: Kept) -> None:
    name = kept.upload(1)
    kept.grow_old()

    def away(_: str) -> bool:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "away")

    assert Unnamed(kept.store, kept.notes, AGE, away).look() == 0
    for_ever = Unnamed(kept.store, kept.notes, 0.0, kept.named)
    for_ever.note("functions/another/archive")
    assert for_ever.look() == 0
    assert kept.has(name)
    assert len(list(kept.notes.iterdir())) == 1
