"""The folder that sandboxes show as /etc."""

from pathlib import Path

import pytest

from workers.executors import etc


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's /etc."""
    found = tmp_path / "machine"
    (found / "ssl" / "certs").mkdir(parents=True)
    for name in ("services", "hosts", "shadow"):
        (found / name).write_text(f"{name} of the machine")
    monkeypatch.setattr(etc, "_SYSTEM", str(found))
    return found


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_it_has_what_programs_need_and_nothing_else(machine: Path, tmp_path: Path) -> None:
    words = etc.lay_out(tmp_path, {"passwd": "me"}, network=False)
    shown = tmp_path / "etc"
    certificates = str(machine / "ssl" / "certs")
    assert words == ["--ro-bind", str(shown), str(machine), "--ro-bind-try", certificates, certificates]
    assert names(shown) == {"services", "passwd", "ssl", "ssl/certs"}
    assert (shown / "passwd").read_text() == "me"


def test_the_network_is_known_to_who_may_use_it(machine: Path, tmp_path: Path) -> None:
    etc.lay_out(tmp_path, {"hosts": "nobody"}, network=False)
    etc.lay_out(tmp_path, {}, network=True)
    assert [(tmp_path / name / "hosts").read_text() for name in ("etc", "etc-network")] == [
        "nobody",
        "hosts of the machine",
    ]


def test_it_follows_the_machine(machine: Path, tmp_path: Path) -> None:
    etc.lay_out(tmp_path, {}, network=True)
    (machine / "services").write_text("other services")
    (machine / "hosts").unlink()
    (machine / "fonts").mkdir()
    etc.lay_out(tmp_path, {}, network=True)
    shown = tmp_path / "etc-network"
    assert names(shown) == {"services", "ssl", "ssl/certs", "fonts"}
    assert (shown / "services").read_text() == "other services"
