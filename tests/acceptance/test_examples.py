"""The examples for data scientists, run in a federation: the script as a process, the notebook cell by cell."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.experiment import HOSPITALS
from tests.acceptance.demonstrated import Demonstrated

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = 1

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder(demo: Demonstrated) -> Path:
    """The folder of a federation as `orchestrator up` leaves it for other programs."""
    return demo.federation.folder


def run_script(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "federated_averaging.py"), "--data", str(folder), *more]
    # Not from the project's folder: the installed packages must do.
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def check_scores(printed: str, rounds: int) -> None:
    """Check that each hospital's scores are there, and what a model that has learned something reaches."""
    lines = [line.split() for line in printed.splitlines()]
    begin = lines.index(["round", "score", *HOSPITALS])
    table = {(int(number), score): list(map(float, cells)) for number, score, *cells in lines[begin + 1 :]}
    assert {score for number, score in table if number == rounds} == {"accuracy", "auc"}, printed
    assert all(len(cells) == len(HOSPITALS) for cells in table.values()), printed
    assert all(0.85 <= value <= 1 for value in table[rounds, "accuracy"]), printed


def test_the_script_trains_and_prints_the_performances(folder: Path):
    done = run_script(folder, "--rounds", str(ROUNDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    check_scores(done.stdout, ROUNDS)
    assert len(re.findall(r"rank \d \S+ Done", done.stdout)) == ROUNDS * (len(HOSPITALS) + 1) + len(HOSPITALS)


def test_the_script_says_what_to_do_when_no_federation_runs(tmp_path: Path):
    done = run_script(tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"no federation runs in {tmp_path}: start one with `orchestrator up`\n"


def test_the_script_fits_on_a_page():
    assert len((EXAMPLES / "federated_averaging.py").read_text().splitlines()) <= 120


def cells() -> dict[str, str]:
    """Return the notebook's code, by the ids of its cells; whatever a kernel left in it is refused."""
    notebook = json.loads((EXAMPLES / "federated_averaging.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    found = {cell["id"]: "".join(cell["source"]) for cell in code}
    assert len(found) == len(code) > 0
    return found


def test_the_notebook_runs_from_top_to_bottom(folder: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_DATA", os.fspath(folder))
    kernel: dict[str, object] = {}
    for name, code in cells().items():
        exec(compile(code, f"cell {name}", "exec"), kernel)
    check_scores(capsys.readouterr().out, 3)
    assert json.loads((tmp_path / "model.json").read_text())


def test_the_notebook_says_what_to_do_when_no_federation_runs(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_DATA", os.fspath(tmp_path))
    with pytest.raises(RuntimeError, match="start one with `orchestrator up`"):
        exec(compile(cells()["connect"], "cell connect", "exec"), {})
