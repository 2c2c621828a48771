"""A federation of this machine is found where a person or a notebook works."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.embedded import running
from orchestrator.embedded.running import Running
from tests.kit.commands import run


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
    for folder in (project / ".orchestrator", project, "~"):
        monkeypatch.setenv("HOME", str(project))
        assert running.here(folder).address == "a:1"
    with pytest.raises(
        RuntimeError, match=r"no federation runs in other: start one with `orchestrator up`, or say where"
    ):
        running.here("other")
    monkeypatch.setenv("ORCHESTRATOR_DATA", "another")
    with pytest.raises(RuntimeError, match=r"no federation runs in another: "):
        running.here()


def test_where_none_runs_one_is_told_how_to_start_it(project: Path) -> None:
    (project / ".orchestrator" / running.FILE).unlink()
    with pytest.raises(RuntimeError, match=r"no federation runs in .*/examples/mine or above it: start one"):
        running.here()


def test_a_command_finds_it_too(project: Path) -> None:
    assert "no federation runs in" not in run("plan", "list", folder=Path.cwd()).stderr
    (project / ".orchestrator" / running.FILE).unlink()
    done = run("plan", "list", folder=Path.cwd())
    assert (
        done.returncode,
        done.stderr.startswith(f"Error: no federation runs in {Path.cwd()} or above it: run `orch"),
    ) == (2, True)


def test_that_of_another_user_above_is_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(RuntimeError, match="or above it"):
        running.here()
    monkeypatch.chdir(project)
    assert running.here().address == "a:1"


def test_what_is_shown_of_it_has_no_password(project: Path) -> None:
    shown = replace(running.here(), flower="http://demo:secret@a:3")
    for told in (repr(shown), shown._repr_html_()):
        assert "org-1" in told
        assert "secret" not in told
