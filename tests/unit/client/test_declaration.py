"""`function.yaml`: what a function's author declares, and the one line that says what is wrong with it."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.client.declaration import read
from orchestrator.core.documents import DocumentError

GOOD = """
name: train
description: |
  # Train
  With what it learns.
inputs:
  opener: {kind: data_manager}
  datasamples:
    kind: data_sample
    multiple: true
  shared: {kind: model, optional: true, multiple: false}
outputs:
  model: {kind: model}
  loss: {kind: performance}
metadata:
  paper: "10.1000/182"
"""
IDENTIFIERS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=10)
FLAGS = st.dictionaries(st.sampled_from(("multiple", "optional")), st.booleans())


def declared(folder: Path, text: str) -> Path:
    (folder / "function.yaml").write_text(text)
    return folder


def test_all_that_may_be_declared(tmp_path: Path) -> None:
    found = read(declared(tmp_path, GOOD))
    assert (found.name, found.description) == ("train", "# Train\nWith what it learns.\n")
    assert found.inputs == {
        "opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER),
        "datasamples": pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True),
        "shared": pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True),
    }
    assert found.outputs == {
        "model": pb.FunctionOutput(kind=pb.ASSET_MODEL),
        "loss": pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE),
    }
    assert found.metadata == {"paper": "10.1000/182"}


def test_the_least_that_must_be_declared(tmp_path: Path) -> None:
    folder = tmp_path / "average"
    folder.mkdir()
    found = read(declared(folder, "outputs: {model: {kind: model}}"))
    assert (found.name, found.description, found.inputs, found.metadata) == ("average", "# average\n", {}, {})
    (folder / "README.md").write_text("# What it does\n")
    assert read(folder).description == "# What it does\n"


@given(st.dictionaries(IDENTIFIERS, FLAGS, max_size=4), st.dictionaries(IDENTIFIERS, st.booleans(), min_size=1))
def test_what_is_declared_is_read(tmp_path_factory: pytest.TempPathFactory, inputs: dict, outputs: dict) -> None:
    content = {
        "inputs": {name: {"kind": "model", **flags} for name, flags in inputs.items()},
        "outputs": {name: {"kind": "model", "multiple": multiple} for name, multiple in outputs.items()},
    }
    text = yaml.safe_dump(content, allow_unicode=True)
    found = read(declared(tmp_path_factory.mktemp("function"), text))
    assert found.inputs == {name: pb.FunctionInput(kind=pb.ASSET_MODEL, **flags) for name, flags in inputs.items()}
    assert found.outputs == {name: pb.FunctionOutput(kind=pb.ASSET_MODEL, multiple=m) for name, m in outputs.items()}


OUTPUTS = "outputs: {model: {kind: model}}\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "outputs are expected"),
        ("outputs: {}", 1, "outputs are expected"),
        ("inputs: [a]\n", 1, "keys and values"),
        ("input: {}\n" + OUTPUTS, 1, "did you mean 'inputs'?"),
        (OUTPUTS + "inputs:\n  a: {kind: models}", 3, "did you mean 'model'?"),
        (OUTPUTS + "inputs:\n  a: {kind: performance}", 3, "expected one of model, data_sample, data_manager"),
        (OUTPUTS + "inputs:\n  a: {multiple: true}", 3, "the kind is missing"),
        (OUTPUTS + "inputs:\n  a: {kind: model, multiple: yes}", 3, "true or false"),
        (OUTPUTS + 'inputs:\n  a: {kind: model, multiple: "true"}', 3, "true or false"),
        (OUTPUTS + "inputs:\n  a: {kind: model, many: true}", 3, "expected one of kind, multiple, optional"),
        (OUTPUTS + "inputs:\n  a: {kind: data_sample}", 3, "a data_sample and a data_manager are expected together"),
        (OUTPUTS + "inputs:\n  a: {kind: data_manager}", 3, "a data_manager and a data_sample are expected together"),
        (OUTPUTS + "inputs:\n  a: {kind: data_manager, optional: true}", 3, "cannot be optional"),
        (OUTPUTS + "inputs:\n  a: {kind: data_manager}\n  b: {kind: data_manager}", 4, "one at most"),
        ("outputs:\n  a: {kind: performance, multiple: true}", 2, "cannot be multiple"),
        ("outputs:\n  a: {kind: model, optional: true}", 2, "did you mean|expected one of kind, multiple"),
        (OUTPUTS + "metadata: {a: 1}", 2, "in quotes"),
        (OUTPUTS + OUTPUTS, 2, "a second time"),
        (OUTPUTS + "\tname: a", 2, "no YAML"),
    ],
)
def test_a_slip_is_one_line_that_says_where_it_is(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(declared(tmp_path, text))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/function.yaml, line {line}: ")
    assert re.search(words, said)
    assert said.isprintable()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"function\.yaml is missing: it declares"):
        read(tmp_path)
