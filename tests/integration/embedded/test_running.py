"""A federation of this machine is found where a person or a notebook works."""

import os
from pathlib import Path

import pytest

from orchestrator.embedded import running
from orchestrator.embedded.running import Running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a federation that this process runs, and a folder in it in which one works."""
    monkeypatch.delenv("ORCHESTRATOR_DATA", raising=False)
    started = running.start_time(os.getpid())
    assert started is not None
    nowhere = Path("nowhere")
    federation = Running(os.getpid(), started, "a:1", "a:2", "c", ("org-1",), {}, nowhere, nowhere, "", nowhere)
    (tmp_path / ".orchestrator").mkdir()
    federation.write(tmp_path / ".orchestrator")
    (tmp_path / "examples" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "examples" / "mine")
    return tmp_path


def test_it_is_found_from_any_folder_of_the_project(project: Path) -> None:
    assert running.here().organizations == ("org-1",)


def test_the_folder_that_is_asked_for_is_the_only_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert running.here(project / ".orchestrator").address == "a:1"
    with pytest.raises(RuntimeError, match=r"no federation runs in other: start one with `orchestrator up`"):
        running.here("other")
    monkeypatch.setenv("ORCHESTRATOR_DATA", "another")
    with pytest.raises(RuntimeError, match=r"no federation runs in another: "):
        running.here()


def test_where_none_runs_one_is_told_how_to_start_it(project: Path) -> None:
    (project / ".orchestrator" / running.FILE).unlink()
    with pytest.raises(RuntimeError, match=r"no federation runs in .*/examples/mine or above it: start one"):
        running.here()
