"""What counts the tests' processor time, and what it says of a run of pytest in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import budget
from tests.kit.budget import Ledger

TESTS = Path(__file__).parents[1]
BUDGET = {"unit": 10.0, "integration": 20.0, "integration/beat": 5.0}

BURN = """
import time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""
CONFTEST = """
from pathlib import Path
from tests.kit.budget import Budget

def pytest_configure(config):
    config.pluginmanager.register(Budget(Path(__file__).parent), "budget")
"""


def test_every_folder_of_tests_has_a_budget():
    known = budget.read(TESTS)
    files = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")]
    assert {budget.folder_of(file, known) for file in files} == set(known)


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("unit/test_x.py", "unit"),
        ("unit/workers/test_x.py", "unit"),
        ("integration/test_x.py", "integration"),
        ("integration/beat/test_x.py", "integration/beat"),
        ("new/test_x.py", "new"),
    ],
)
def test_a_file_belongs_to_the_nearest_folder_that_has_a_budget(file: str, folder: str):
    assert budget.folder_of(file, BUDGET) == folder


def test_only_what_ran_whole_and_took_more_than_twice_its_budget_is_broken():
    ledger = Ledger({"unit/test_a.py": 15.0, "unit/core/test_b.py": 6.0, "integration/beat/test_c.py": 10.0})
    assert ledger.broken(BUDGET) == []
    ledger.whole = {"unit", "integration/beat"}
    assert ledger.broken(BUDGET) == ["unit took 21 s of processor time: more than twice its budget of 10 s"]


def test_what_was_lost_of_sight_takes_nothing_back():
    ledger = Ledger()
    for seconds in (2.0, -1.0, 3.0):
        ledger.charge("unit/test_a.py", seconds)
    assert ledger.files == {"unit/test_a.py": 5.0}


def test_processes_below_are_counted_while_they_run_and_afterwards():
    script = BURN + "burn(0.3); print(flush=True); input()"
    before = budget.spent()
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        running = budget.spent()
        child.communicate(b"\n")
    assert before + 0.25 <= running <= budget.spent()


@pytest.mark.parametrize(
    ("allowed", "arguments", "code"),
    [
        ("10", ("dear",), 0),
        ("0.1", ("dear",), 1),
        ("0.1", ("dear", "-n", "2"), 1),
        ("0.1", ("dear/test_a.py",), 0),
        ("0.1", ("dear", "-k", "one"), 0),
        ("0.1", ("dear/test_a.py::test_one", "dear/test_b.py"), 0),
    ],
    ids=["within", "above", "above in two processes", "one file", "some tests", "one test"],
)
def test_a_run_of_a_folder_fails_above_twice_its_budget(
    tmp_path: Path, allowed: str, arguments: tuple[str, ...], code: int
):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "budget.toml").write_text(f"[seconds]\ndear = {allowed}\n")
    dear = tmp_path / "dear"
    dear.mkdir()
    (dear / "test_a.py").write_text(f"{BURN}\ndef test_one():\n    burn(0.3)\n\ndef test_two():\n    pass\n")
    (dear / "test_b.py").write_text("def test_three():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", *arguments]
    command += ["-o", f"pythonpath={TESTS.parent}", "--rootdir", str(tmp_path)]
    # Half of a start is the import of all plugins that are installed.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("more than twice its budget" in done.stdout) == bool(code)
    assert "passed" in done.stdout
