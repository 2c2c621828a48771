"""What a worker keeps of its peers' archives."""

import hashlib
import os
from pathlib import Path

from workers.assets.kept import Kept


def put(kept: Kept, content: bytes, folder: Path, age: float) -> str:
    source = folder / "source"
    source.write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    kept.put(checksum, source)
    file = folder / "kept" / checksum
    if file.exists():
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    return checksum


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", 100)
    old, used = (put(kept, content * 40, tmp_path, age) for content, age in ((b"a", 30), (b"b", 60)))
    assert kept.take(used, tmp_path / "target")
    new = put(kept, b"c" * 40, tmp_path, 0)
    assert [kept.take(checksum, tmp_path / "target") for checksum in (old, used, new)] == [False, True, True]
    assert (tmp_path / "target").read_bytes() == b"c" * 40
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_what_is_larger_than_all_may_be_is_not_kept(tmp_path: Path) -> None:
    assert not Kept(tmp_path / "kept", 3).take(put(Kept(tmp_path / "kept", 3), b"four", tmp_path, 0), tmp_path / "t")
    nothing = Kept(tmp_path / "kept", 0)
    assert not nothing.take(put(nothing, b"", tmp_path, 0), tmp_path / "t")
    assert not (tmp_path / "kept").exists()


def test_no_name_but_a_checksum_leads_anywhere(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", 100)
    (tmp_path / "secret").write_text("secret")
    for name in ("../secret", "", str(tmp_path / "secret"), "A" * 64):
        assert not kept.take(name, tmp_path / "target")
        kept.forget(name)
    assert (tmp_path / "secret").exists()


def test_nobody_else_may_enter_it(tmp_path: Path) -> None:
    put(Kept(tmp_path / "kept", 100), b"x", tmp_path, 0)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
