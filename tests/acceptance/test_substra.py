"""An experiment of the real SubstraFL, by the client with the Substra SDK's names, in a federation of four."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.experiment import HOSPITALS
from tests.acceptance.demonstrated import Demonstrated

EXAMPLE = Path(__file__).parents[2] / "examples" / "substrafl"
ROUNDS = 1
# What SubstraFL itself makes of the same experiment, in one process and by no client of ours.
SIMULATION = """
import json, sys
from pathlib import Path
import digits
from substrafl.experiment import simulate_experiment

*owners, analyst = digits.connect(Path(), True)
arguments = digits.experiment(owners, analyst, int(sys.argv[1]), Path("scratch"))
found, _, _ = simulate_experiment(**arguments)
print(json.dumps([found.round_idx, found.worker, found.performance]))
"""


def run(folder: Path, *command: str) -> str:
    # What SubstraFL says on its way goes to stderr.
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def simulated(folder: Path) -> dict[tuple[int, int], float]:
    """Return the accuracies by round and organization, as SubstraFL simulates them."""
    script = f"import sys; sys.path.insert(0, {str(EXAMPLE)!r})\n{SIMULATION}"
    rounds, workers, values = json.loads(run(folder, "-c", script, str(ROUNDS)))
    names = sorted(set(workers))
    return {(number, names.index(name)): value for number, name, value in zip(rounds, workers, values, strict=True)}


def test_an_experiment_of_substrafl_measures_what_substrafl_does(demo: Demonstrated, tmp_path: Path):
    printed = run(
        tmp_path, str(EXAMPLE / "digits.py"), "--data", str(demo.federation.folder), "--rounds", str(ROUNDS)
    ).splitlines()
    measured = {}
    for line in printed[:-1]:
        _, number, name, _, value = line.split()
        measured[int(number), HOSPITALS.index(name)] = float(value)
    # The contract keeps single precision; six digits are printed.
    assert measured == pytest.approx(simulated(tmp_path), abs=2e-6)
    assert len(measured) == (ROUNDS + 1) * len(HOSPITALS)
    right = float(printed[-1].removeprefix("of all digits, the model reads ").removesuffix("% right"))
    assert right > 85
