"""Which Python a function gets: the worker's own, or one of the machine that says that it is the wanted one."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.functions import pythons

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(folder: str, says: list[int], code: int = 0) -> Path:
        program = tmp_path / folder / "bin" / "python3.99"
        program.parent.mkdir(parents=True)
        said = json.dumps([says, str(tmp_path / folder), str(tmp_path / folder), str(program)])
        program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
        program.chmod(0o755)
        return program

    return made


@pytest.mark.parametrize("wanted", [None, OWN])
def test_the_workers_own_comes_first(wanted: str | None) -> None:
    found = pythons.find(wanted)
    assert found is not None
    assert found.is_own
    assert found.program == Path(sys.executable)
    assert found.version.startswith(f"{OWN}.")


def test_one_that_is_named_is_asked_what_it_is(make: Make, tmp_path: Path) -> None:
    another, shim, right = make("another", [3, 98, 1]), make("shim", [3, 99, 1], code=127), make("right", [3, 99, 2])
    found = pythons.find("3.99", [tmp_path / "missing", another, shim, right])
    assert found == pythons.Python(right, "3.99.2", (tmp_path / "right",))
    assert not found.is_own


def test_one_of_the_path_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pythons.find("3.99") is None
    program = make("on-the-path", [3, 99, 0])
    monkeypatch.setenv("PATH", f".:{program.parent}")
    found = pythons.find("3.99")
    assert found is not None
    assert found.program == program


@pytest.mark.parametrize("private", ["", "right", "right/work"])
def test_one_around_the_workers_data_or_in_them_is_none(make: Make, tmp_path: Path, private: str) -> None:
    assert pythons.find("3.99", [make("right", [3, 99, 2])], [tmp_path / private]) is None
