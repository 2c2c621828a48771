"""The examples for data scientists, run in a federation: the scripts as processes, the notebooks by a kernel."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from orchestrator.cli.experiment import HOSPITALS
from tests.acceptance.demonstrated import Demonstrated
from tests.kit import notebooks, pages

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
ROUNDS = 1


@pytest.fixture
def folder(demo: Demonstrated) -> Path:
    """The folder of a federation as `orchestrator up` leaves it for other programs."""
    return demo.federation.folder


def run_script(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "federated_averaging.py"), "--data", str(folder), *more]
    # Not from the project's folder: the installed packages must do.
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


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


@pytest.fixture(scope="module", params=notebooks.NOTEBOOKS)
def outputs(request, demo: Demonstrated, tmp_path_factory) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What the cells of a notebook put out when it was stored, and now."""
    stored = EXAMPLES / request.param
    now = notebooks.run(stored, tmp_path_factory.mktemp("notebook"), demo.federation.folder)
    return notebooks.output_of(nbformat.read(stored, as_version=4)), notebooks.output_of(now)


def test_a_notebook_is_stored_with_the_output_of_its_code(outputs):
    stored, now = outputs
    assert any(stored.values())
    for cell, shown in now.items():
        before, after = "\n".join(stored[cell]), "\n".join(shown)
        assert notebooks.masked(before) == notebooks.masked(after), f"run `make notebooks`: cell {cell} puts out other"
        assert notebooks.scores_in(before) == pytest.approx(notebooks.scores_in(after), abs=0.03)


def test_the_digits_script_trains_from_folders_alone(folder: Path, tmp_path: Path):
    for program, arguments in (("data.py", []), ("train.py", ["--rounds", "1"])):
        command = [sys.executable, str(EXAMPLES / "digits" / program), str(tmp_path / "clinics"), *arguments]
        environment = {**os.environ, "ORCHESTRATOR_DATA": str(folder)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    (line,) = re.findall(r"^ +1 +accuracy +(.*)$", done.stdout, re.MULTILINE)
    assert all(0.7 <= float(value) <= 1 for value in line.split()), done.stdout
    network = json.loads((tmp_path / "clinics" / "network.json").read_text())
    assert network["digits"] > 1000


def test_the_examples_of_the_sdks_page_do_what_they_say(folder: Path, tmp_path: Path, monkeypatch, capsys):
    shutil.copytree(EXAMPLES / "digits", tmp_path, dirs_exist_ok=True)
    subprocess.run([sys.executable, "data.py", "clinics"], cwd=tmp_path, check=True, timeout=120)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_DATA", os.fspath(folder))
    names: dict[str, Any] = {}
    try:
        pages.run(PAGE, names)
        assert re.search(r"^ +2 +accuracy +0\.\d{4}$", capsys.readouterr().out, re.MULTILINE)
    finally:
        for client in {"client", "hospital"} & set(names):
            names[client].close()


def test_notebooks_and_the_digits_use_the_sdk_alone():
    """No file of theirs imports from `examples`, nor knows how asset stores keep their files."""
    for file in [*(EXAMPLES / "digits").rglob("*.py"), *(EXAMPLES / name for name in notebooks.NOTEBOOKS)]:
        text = file.read_text()
        assert not re.search(r"(from|import) (examples|workers|orchestrator\.(?!client|embedded))", text), file
        assert "store_root" not in text, file


def test_what_the_first_notebook_writes_are_the_files_of_the_example():
    example, written = EXAMPLES / "breast_cancer", {}
    for cell in nbformat.read(EXAMPLES / "federated_averaging.ipynb", as_version=4).cells:
        head, _, content = cell.source.partition("\n")
        if head.startswith("%%writefile averaging/"):
            written[head.removeprefix("%%writefile averaging/")] = content
    files = {f"{name}/function.py": f"functions/{name}/function.py" for name in ("train", "aggregate", "test")}
    files["opener.py"] = "opener/__init__.py"
    assert written == {name: (example / source).read_text().rstrip() for name, source in files.items()}
