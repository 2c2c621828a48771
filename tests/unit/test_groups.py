"""Tests that share what is dear run in one of several processes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.groups import group_of

CHECKOUT = Path(__file__).parents[2]

CONFTEST = """
import os, pathlib, pytest
from tests.kit.groups import Grouped, dear_first

ROOT = pathlib.Path(__file__).parent

def pytest_xdist_make_scheduler(config, log):
    return Grouped(config, log)

def pytest_collection_modifyitems(items):
    dear_first(items, ROOT)

@pytest.fixture(autouse=True)
def said(request):
    with open(ROOT / "said", "a") as file:
        file.write(f"{request.path.parent.name} {os.getpid()}\\n")
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_anything(number):
    pass
"""


def test_a_group_runs_in_one_of_two_processes(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "budget.toml").write_text("[seconds]\ncheap = 1\nfaults = 9\n")
    for folder, name in (("cheap", "a"), ("faults", "b"), ("faults", "c")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"test_{name}.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", "2"]
    command += [
        "--dist",
        "loadgroup",
        "--no-loadscope-reorder",
        "-o",
        f"pythonpath={CHECKOUT}",
        "--rootdir",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert "12 passed" in done.stdout, done.stdout + done.stderr
    said = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[0] for line in said].count("faults") == 8
    assert len({line for line in said if line.startswith("faults")}) == 1


def test_groups():
    assert (
        group_of("tests/faults/test_away.py::test_x") == group_of("tests/faults/test_monkeys.py::test_y[z]") == "stage"
    )
    assert group_of("tests/attacks/test_broker_servers.py::test_x") == group_of(
        "tests/integration/brokers/test_lanes.py::y"
    )
    assert group_of("tests/acceptance/test_demo.py::test_x") == group_of("tests/acceptance/test_examples.py::y")
    assert group_of("tests/acceptance/test_demo.py::test_x") != group_of("tests/acceptance/test_bad_input.py::y")
    assert group_of("tests/unit/test_rooms.py::test_x[a::b]") == "tests/unit/test_rooms.py"
