"""What a function takes and makes, as the file `function.yaml` beside its code says it.

```yaml
name: train
inputs:
  opener: {kind: data_manager}
  datasamples: {kind: data_sample, multiple: true}
  shared: {kind: model, optional: true}
outputs:
  model: {kind: model}
```
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from orchestrator import protos as pb
from orchestrator.core import documents
from orchestrator.core.documents import DocumentError, Entry

FILE = "function.yaml"
README = "README.md"

_INPUTS: Mapping[str, "pb.AssetKind.ValueType"] = {
    "model": pb.ASSET_MODEL,
    "data_sample": pb.ASSET_DATA_SAMPLE,
    "data_manager": pb.ASSET_DATA_MANAGER,
}
_OUTPUTS: Mapping[str, "pb.AssetKind.ValueType"] = {"model": pb.ASSET_MODEL, "performance": pb.ASSET_PERFORMANCE}


@dataclass(frozen=True)
class Declaration:
    """A function as its author declares it.

    Args:
        name: for people.
        description: for people, Markdown.
        inputs: by their identifiers.
        outputs: by their identifiers.
        metadata: anything, for people.
    """

    name: str
    description: str
    inputs: Mapping[str, pb.FunctionInput]
    outputs: Mapping[str, pb.FunctionOutput]
    metadata: Mapping[str, str]


def read(folder: Path) -> Declaration:
    """Return what the file in a function's folder declares.

    Args:
        folder: of the function. Its name is the function's where the file says none, and README.md its description.

    Raises:
        DocumentError: the folder or the file is missing or wrong: one line with the file, the line, what is expected.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise DocumentError(f"{folder} is no folder: a function is a folder with a Dockerfile, {FILE} and a program")
    file = folder / FILE
    try:
        document = documents.read(file.read_bytes(), str(file))
    except FileNotFoundError as error:
        raise DocumentError(
            f"{file} is missing: it declares what the function takes and makes, "
            "as in `outputs: {model: {kind: model}}`"
        ) from error
    parts = document.mapping("name", "description", "inputs", "outputs", "metadata")
    name = parts["name"].text() if parts["name"] else folder.resolve().name
    inputs = _inputs(parts["inputs"])
    outputs = {identifier: _output(entry) for identifier, entry in parts["outputs"].mapping().items()}
    if not outputs:
        raise parts["outputs"].error("outputs are expected, at least one, as in `outputs: {model: {kind: model}}`")
    return Declaration(
        name,
        parts["description"].text() if parts["description"] else _readme(folder) or f"# {name}\n",
        inputs,
        outputs,
        {key: entry.text() for key, entry in parts["metadata"].mapping().items()},
    )


def _inputs(declared: Entry) -> dict[str, pb.FunctionInput]:
    entries = declared.mapping()
    inputs = {identifier: _input(entry) for identifier, entry in entries.items()}
    of_kind = {
        kind: [identifier for identifier, given in inputs.items() if given.kind == number]
        for kind, number in _INPUTS.items()
    }
    managers, samples = of_kind["data_manager"], of_kind["data_sample"]
    if len(managers) > 1:
        raise entries[managers[1]].error("this is a second data_manager; one at most is expected")
    if bool(managers) != bool(samples):
        present, missing = ("data_manager", "data_sample") if managers else ("data_sample", "data_manager")
        raise entries[of_kind[present][0]].error(f"a {present} and a {missing} are expected together, or neither")
    return inputs


def _input(entry: Entry) -> pb.FunctionInput:
    parts = entry.mapping("kind", "multiple", "optional")
    kind = _kind(parts["kind"], _INPUTS, entry)
    for flag in ("multiple", "optional"):
        if kind == pb.ASSET_DATA_MANAGER and parts[flag].flag():
            raise parts[flag].error(f"a data_manager cannot be {flag}")
    return pb.FunctionInput(kind=kind, multiple=parts["multiple"].flag(), optional=parts["optional"].flag())


def _output(entry: Entry) -> pb.FunctionOutput:
    parts = entry.mapping("kind", "multiple")
    kind = _kind(parts["kind"], _OUTPUTS, entry)
    if kind == pb.ASSET_PERFORMANCE and parts["multiple"].flag():
        raise parts["multiple"].error("a performance cannot be multiple")
    return pb.FunctionOutput(kind=kind, multiple=parts["multiple"].flag())


def _kind(entry: Entry, known: Mapping[str, "pb.AssetKind.ValueType"], around: Entry) -> "pb.AssetKind.ValueType":
    expected = f"expected one of {', '.join(known)}"
    if not entry:
        raise around.error(f"the kind is missing, as in `{{kind: model}}`; {expected}")
    given = entry.text()
    if given not in known:
        close = get_close_matches(given, known, 1)
        raise entry.error(f"this kind is not known; {f'did you mean {close[0]!r}?' if close else expected}")
    return known[given]


def _readme(folder: Path) -> str:
    try:
        return (folder / README).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
