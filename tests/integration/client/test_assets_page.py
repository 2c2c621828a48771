"""The examples of the page on functions, data and models, each in its order, against a real server and asset store."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.client import declaration
from orchestrator.embedded.certificates import Layout
from tests.kit.home import Home, function_in

PAGE = Path(__file__).parents[3] / "docs" / "assets.md"


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page takes for granted."""
    average = function_in(tmp_path / "average", blocks("yaml"))
    (average / "function.py").write_text(blocks("python function.py"))
    (average / "Dockerfile").write_text(blocks("dockerfile"))
    (tmp_path / "opener.py").write_text(blocks("python opener.py"))
    for name in ("north", "south"):
        (tmp_path / "data" / name / "more").mkdir(parents=True)
        (tmp_path / "data" / name / "patients.csv").write_text(f"age,town\n42,{name}\n")
        (tmp_path / "data" / name / "more" / "notes.txt").write_text("a")
    return tmp_path


def test_the_python_of_the_page(home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"client": home.client}
    exec(compile(blocks("python"), "assets.md", "exec"), names)
    function = names["function"]
    assert isinstance(function, pb.Function)
    assert function.inputs == declaration.read(folder / "average").inputs
    assert {sample.key for sample in names["samples"]} <= home.samples()


def test_the_commands_of_the_page(home: Home, folder: Path, certificates: Layout, served_address: str) -> None:
    files = certificates.client("org-1")
    environment = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath)),
        "STORE": home.url,
        "ORCHESTRATOR_ADDRESS": served_address,
        "ORCHESTRATOR_ORGANIZATION": "org-1",
        "ORCHESTRATOR_CHANNEL": home.client.channel,
        "ORCHESTRATOR_CLIENT_CA_CERT": str(files.authority),
        "ORCHESTRATOR_CLIENT_CERT": str(files.certificate),
        "ORCHESTRATOR_CLIENT_KEY": str(files.key),
        "ORCHESTRATOR_PEER_CA_CERT": str(certificates.peers),
    }
    command = ["bash", "-euo", "pipefail", "-c", blocks("sh")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "average  org-1" in re.sub(r" +", "  ", done.stdout)
    assert '"complete":true' in done.stdout
    assert "upload-complete: ?1" in done.stdout.lower()


def test_the_programs_of_the_page(folder: Path) -> None:
    """The function does what it says, on files as a worker gives them, and the opener reads the page's data."""
    for number, name in ((1, "one"), (3, "two")):
        (folder / name).write_text(json.dumps({"weight": number}))
    inputs = [{"id": "models", "value": str(folder / name), "multiple": True} for name in ("one", "two")]
    outputs = [{"id": "model", "value": str(folder / "model"), "multiple": False}]
    words = re.search(r"^ENTRYPOINT (.*)$", blocks("dockerfile"), re.MULTILINE)
    assert words
    given = ["--inputs", json.dumps(inputs), "--outputs", json.dumps(outputs)]
    command = [sys.executable, *json.loads(words[1])[1:], *given]
    done = subprocess.run(command, cwd=folder / "average", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("averaged 2 models\n")
    assert json.loads((folder / "model").read_text()) == {"weight": 2}
    names: dict[str, Any] = {}
    exec(compile(blocks("python opener.py"), "opener.py", "exec"), names)
    rows = names["PatientsOpener"]().get_data([folder / "data" / name for name in ("north", "south")])
    assert [row["town"] for row in rows] == ["north", "south"]
