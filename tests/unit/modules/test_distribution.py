"""The distribution of its own that modules install."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def test_it_is_of_the_orchestrator_beside_it_and_needs_no_server():
    whole, modules = project(ROOT), project(ROOT / "workers" / "modules")
    assert modules["version"] == whole["version"]
    assert f"orchestrator=={whole['version']}" in modules["dependencies"]
    assert modules["requires-python"] == whole["requires-python"]
    needed = {re.match(r"[a-z-]+", each)[0] for each in modules["dependencies"]}
    assert needed <= {"orchestrator", "celery", "httpx", "kombu", "packaging", "psutil", "redis"}
