"""The examples' notebooks, run by a kernel as Jupyter does; `python -m tests.kit.notebooks` stores their output."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

from orchestrator.cli.experiment import AGGREGATOR, HOSPITALS
from orchestrator.embedded.federation import Federation, remove_data

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = ("federated_averaging.ipynb", "digits/digits.ipynb")
CELL_SECONDS = 60


def run(notebook: Path, folder: Path, data: Path) -> nbformat.NotebookNode:
    """Return a notebook with its output; nothing beside it is changed.

    Args:
        notebook: its file.
        folder: to work in; what lies beside a notebook that has a folder of its own is copied there.
        data: folder of the federation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if notebook.parent != EXAMPLES:
        shutil.copytree(notebook.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    found = nbformat.read(notebook, as_version=4)
    with kernel_of(found, folder, {"ORCHESTRATOR_DATA": str(data)}) as kernel:
        for number, cell in enumerate(found.cells):
            kernel.execute_cell(cell, number)
    return found


@contextmanager
def kernel_of(notebook: nbformat.NotebookNode, folder: Path, variables: dict[str, str]) -> Iterator[NotebookClient]:
    """Give a kernel, to execute the cells of a notebook one by one.

    Args:
        notebook: which.
        folder: to work in.
        variables: more of its environment.
    """
    with _own_home(folder):
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        )
        with client.setup_kernel(env={**os.environ, **variables}):
            yield client


@contextmanager
def _own_home(folder: Path) -> Iterator[None]:
    """Keep what Jupyter writes down of the kernel out of the user's home."""
    places = {name: str(folder / name.lower()) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    with patch.dict(os.environ, places):
        yield


def output_of(notebook: nbformat.NotebookNode) -> dict[str, list[str]]:
    """Return what each cell put out, by its id: streams as they are, of other data the text and the HTML."""
    shown = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        lines = []
        for output in cell.outputs:
            if output.output_type == "stream":
                lines.append(f"{output.name}: {output.text}")
            elif output.output_type == "error":
                lines.append(f"{output.ename}: {output.evalue}")
            else:
                lines += [f"{kind}: {output.data[kind]}" for kind in sorted(output.data)]
        shown[cell.id] = lines
    return shown


MASKS = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "KEY",
    r"(task |show |logs |retry )[0-9a-f]{8}\b": r"\1KEY",
    r"127\.0\.0\.1:\d+": "ADDRESS",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "MOMENT",
    r"\d\.\d{4}\b": "SCORE",
}
"""What differs from run to run."""


def masked(text: str) -> str:
    """Return an output without what differs from run to run."""
    for pattern, mask in MASKS.items():
        text = re.sub(pattern, mask, text)
    return text


def scores_in(text: str) -> list[float]:
    """Return the scores in an output."""
    return [float(found) for found in re.findall(r"\d\.\d{4}\b", text)]


def store() -> None:
    """Run the notebooks in a federation of their own, and store their output in them."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "federation"
        try:
            with Federation(data, [*HOSPITALS, AGGREGATOR], flower=False) as federation:
                for name, url in federation.running.stores.items():
                    with federation.running.client(name) as client:
                        client.register_organization(url)
                for name in NOTEBOOKS:
                    done = run(EXAMPLES / name, Path(scratch) / name, data)
                    done.metadata.language_info = {"name": "python"}
                    nbformat.write(done, EXAMPLES / name)
                    print(f"stored the output of {name}")
        finally:
            remove_data(data)


if __name__ == "__main__":
    store()
