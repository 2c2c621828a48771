"""Files of executions that belong to nothing are removed, an hour after they came."""

import uuid
from pathlib import Path

import pytest

from beat.settings import BeatSettings
from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from orchestrator.executions.files import stored
from orchestrator.executions.files.storage import Files
from orchestrator.executions.files.uploads import Upload
from orchestrator.executions.sweeps import orphan_files
from tests.kit.member import after, made


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "media"))


def keep(files: Files, name: str, content: bytes = b"x") -> pb.StoredFile:
    path = files.staging / name
    path.write_bytes(content)
    return files.keep(Upload(name, len(content), path))


def test_what_belongs_to_nothing_goes_after_an_hour(database: Database, files: Files, tmp_path: Path):
    orphans = [keep(files, f"orphan {number}") for number in range(5)]
    kept = [keep(files, f"kept {number}") for number in range(3)]
    database.run("org-1", "channel", lambda transaction: stored.note(transaction, kept))
    foreign = tmp_path / "media" / "notes.txt"
    foreign.write_text("somebody else's")
    sweep = made(orphan_files, database, media_root=str(tmp_path / "media"))
    sweep.sweep(database, after(0))
    assert all(files.open(each).read() == b"x" for each in orphans), "a request may still note them"
    sweep.sweep(database, after(3700))
    assert all(files.open(each).read() == b"x" for each in kept)
    for each in orphans:
        with pytest.raises(FileNotFoundError):
            files.open(each)
    assert foreign.exists()
    database.run("org-1", "channel", lambda transaction: stored.forget(transaction, kept[:1]))
    sweep.sweep(database, after(3700))
    left = {each.name for each in (tmp_path / "media").iterdir() if each.is_file()}
    assert left == {"notes.txt", *(each.key for each in kept[1:])}


def test_it_is_made_where_files_are_kept(database: Database):
    settings = BeatSettings(database_url=database.url, broker_url="redis://unused")
    assert orphan_files.make(settings) is None


def test_a_file_that_is_gone_is_removed_again(files: Files):
    file = keep(files, "one")
    for _ in range(2):
        files.remove([uuid.UUID(file.key)])
    assert not (files.staging.parent / file.key).exists()
