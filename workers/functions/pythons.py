"""Which Pythons this machine has for functions: the worker's own, those on its PATH, and those that a setting names.

None is ever fetched. A function gets the worker's own where that has the version that it needs.
"""

import functools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.functions.stage import own_python

_SECONDS = 30.0
_ASK = (
    "import json, os, sys; print(json.dumps([list(sys.version_info[:3]), sys.base_prefix, sys.base_exec_prefix, "
    "os.path.realpath(sys.executable)]))"
)


@dataclass(frozen=True)
class Python:
    """A Python of this machine.

    Args:
        program: that starts it.
        version: X.Y.Z.
        bases: the folders that it consists of.
    """

    program: Path
    version: str
    bases: tuple[Path, ...]

    @property
    def is_own(self) -> bool:
        """Whether it is the worker's own."""
        return self.program == Path(sys.executable)


def find(wanted: str | None, named: Sequence[Path] = (), private: Sequence[Path] = ()) -> Python | None:
    """Return a Python of a version.

    Args:
        wanted: X.Y; None for the worker's own.
        named: programs that are looked at before those of the PATH.
        private: paths that no function may see: a Python that lies around one, or in one, is none.

    Returns:
        None where there is none.
    """
    if wanted in (None, own_python()):
        return _own()
    for program in (*named, *_on_path(f"python{wanted}")):
        found = _asked(program)
        if found is None:
            # It may be there the next time.
            _asked.cache_clear()
        if found is None or found.version.rpartition(".")[0] != wanted:
            continue
        if not any(
            path.is_relative_to(base) or base.is_relative_to(path)
            for base in found.bases
            for path in map(Path.resolve, private)
        ):
            return found
    return None


def _own() -> Python:
    places = {Path(sys.base_prefix), Path(sys.base_exec_prefix), Path(os.path.realpath(sys.executable)).parent.parent}
    return Python(Path(sys.executable), platform.python_version(), _outside(places))


def _outside(places: set[Path]) -> tuple[Path, ...]:
    """Return those folders that lie outside of the system's, which functions see anyway."""
    return tuple(sorted(place for place in places if place != Path("/") and not place.is_relative_to("/usr")))


def _on_path(name: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        program = Path(folder, name)
        if program.is_absolute() and program.is_file() and os.access(program, os.X_OK):
            yield program


@functools.lru_cache(maxsize=32)
def _asked(program: Path) -> Python | None:
    """Ask a program what it is; a shim of a version manager may have nothing behind it."""
    try:
        asked = subprocess.run(
            [program, "-I", "-S", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        version, *places, real = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    bases = {Path(place) for place in places} | {Path(real).parent.parent}
    return Python(program, ".".join(map(str, version)), _outside(bases))
