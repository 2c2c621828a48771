"""The distribution that brings the echo kind, laid out as pip would: its messages, and an entry point."""

import subprocess
import sys
from pathlib import Path

from orchestrator.engine.kinds import GROUP

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> str:
    """Lay it out in a folder; return the `PYTHONPATH` by which a process finds it, beside the tests."""
    here = ROOT / "tests" / "kinds"
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", f"-I{here}"]
    subprocess.run([*compiler, f"--python_out={folder}", "echo.proto"], check=True, cwd=here)
    metadata = folder / "echo_kind-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-kind\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\necho = tests.kinds.echo:KIND\n")
    return f"{folder}:{ROOT}"
