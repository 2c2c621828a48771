"""The example's functions, run from their archives as a worker runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import pytest

from examples.breast_cancer import FUNCTIONS, OPENER
from examples.breast_cancer.data import SampleFolders, split, write_hospital
from orchestrator.client.folders import pack

ROUNDS = 2
ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}", "OPENBLAS_NUM_THREADS": "1"}

Paths = Mapping[str, Path | Sequence[Path]]


def as_resources(paths: Paths) -> str:
    """The JSON list that a function takes; a list of paths is a multiple resource."""
    return json.dumps(
        [
            {"id": identifier, "value": str(path), "multiple": not isinstance(value, Path)}
            for identifier, value in paths.items()
            for path in ([value] if isinstance(value, Path) else value)
        ]
    )


def run(function: str, folder: Path, rank: int, inputs: Paths, outputs: Paths) -> subprocess.CompletedProcess:
    """Run one task in a fresh folder: the command is the Dockerfile's, the arguments lie in a file."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryFile() as packed:
        pack(FUNCTIONS / function, packed)
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
    dockerfile = (folder / "Dockerfile").read_text()
    command = json.loads(re.findall(r"^ENTRYPOINT (\[.+\])$", dockerfile, re.MULTILINE)[-1])
    arguments = {
        "--task-properties": json.dumps({"rank": rank}),
        "--inputs": as_resources(inputs),
        "--outputs": as_resources(outputs),
    }
    (folder / "arguments").write_text("\n".join(line for pair in arguments.items() for line in pair))
    return subprocess.run(
        [*command, "@arguments"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )


class Federation:
    """Three hospitals' folders and the results of the tasks that are run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples: dict[str, SampleFolders] = {}
        self.openers: dict[str, Path] = {}
        for name, hospital in split(["north", "middle", "south"]).items():
            self.samples[name] = write_hospital(folder / name / "samples", hospital)
            # A copy on its own, as an asset store hands it out.
            self.openers[name] = folder / name / "opener" / "__init__.py"
            self.openers[name].parent.mkdir()
            shutil.copy(OPENER, self.openers[name])

    def task(self, name: str, function: str, rank: int, inputs: Paths, outputs: Sequence[str]) -> list[Path]:
        files = {output: self.folder / f"{name}.{output}" for output in outputs}
        done = run(function, self.folder / name, rank, inputs, files)
        assert done.returncode == 0, done.stderr
        assert f"rank {rank}:" in done.stdout
        return list(files.values())

    def train(self, hospital: str, number: int, shared: Path | None) -> Path:
        inputs: dict[str, Path | Sequence[Path]] = {
            "opener": self.openers[hospital],
            "datasamples": self.samples[hospital].train,
        }
        if shared:
            inputs["shared"] = shared
        return self.task(f"train-{hospital}-{number}", "train", 2 * number, inputs, ["model"])[0]

    def test(self, hospital: str, model: Path) -> list[Path]:
        inputs = {
            "opener": self.openers[hospital],
            "datasamples": self.samples[hospital].test,
            "model": model,
        }
        return self.task(f"test-{hospital}", "test", 2 * ROUNDS, inputs, ["accuracy", "auc"])

    def run(self) -> dict[str, bytes]:
        """Run the plan, and return what each task wrote."""
        written, shared = [], None
        for number in range(ROUNDS):
            models = [self.train(hospital, number, shared) for hospital in self.samples]
            name = f"aggregate-{number}"
            [shared] = self.task(name, "aggregate", 2 * number + 1, {"models": models}, ["model"])
            written += [*models, shared]
        assert shared
        for hospital in self.samples:
            written += self.test(hospital, shared)
        return {path.name: path.read_bytes() for path in written}


def test_three_hospitals_train_one_model_and_again_to_the_same_bytes(tmp_path) -> None:
    first = Federation(tmp_path / "first").run()
    assert len(first) == ROUNDS * 4 + 3 * 2
    scores = {name: json.loads(content)["all"] for name, content in first.items() if name.startswith("test-")}
    assert mean(score for name, score in scores.items() if name.endswith(".accuracy")) >= 0.93
    assert all(0.95 <= score <= 1 for name, score in scores.items() if name.endswith(".auc"))
    # The second round goes on from the first.
    assert first["train-north-0.model"] != first["train-north-1.model"]
    assert Federation(tmp_path / "second").run() == first


def test_a_function_that_cannot_read_its_data_fails_and_says_why(tmp_path) -> None:
    (tmp_path / "sample").mkdir()
    inputs = {"opener": OPENER, "datasamples": [tmp_path / "sample"]}
    failed = run("train", tmp_path / "task", 0, inputs, {"model": tmp_path / "model"})
    assert failed.returncode == 1
    assert "patients.csv not found" in failed.stderr
    assert not (tmp_path / "model").exists()


def test_the_command_in_the_readme_trains_on_fake_patients(tmp_path) -> None:
    readme = (FUNCTIONS.parent / "README.md").read_text()
    commands = re.findall(r"(?:^    .+\n)+", readme, re.MULTILINE)
    assert len(commands) == 1
    done = subprocess.run(
        ["bash", "-e", "-c", commands[0]],
        cwd=FUNCTIONS.parents[2],
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    [model] = tmp_path.glob("*/model.json")
    assert json.loads(model.read_text())["patients"] == 100


@pytest.mark.parametrize("function", ["train", "aggregate", "test"])
def test_a_function_imports_no_more_than_its_image_installs(function: str) -> None:
    dockerfile = (FUNCTIONS / function / "Dockerfile").read_text()
    installed = set(re.findall(r"(\w+)==", dockerfile))
    sources = [(FUNCTIONS / function / "function.py").read_text(), OPENER.read_text()]
    imported = {name for source in sources for name in re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE)}
    assert imported - sys.stdlib_module_names == installed
