"""The executor `subprocess`: a function runs as the worker's user does, with limits and a clean environment.

Nothing is kept secret from it, and it can do to the worker what that user can. Run only functions that you trust so.
"""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from workers.executors import arguments
from workers.executors.executor import Environment, Executor, Job
from workers.executors.local import Entered, Local
from workers.settings import WorkerSettings

# A path in a socket's address has 107 bytes, of which Python's multiprocessing takes 33 for its own names.
_LONG_PATH = 70
_SHORT = Path("/tmp")  # noqa: S108 - for a link with a name that nobody can guess


class OpenBox:
    """What isolates nothing: a function sees and may do what this user can."""

    sealed = False

    def check(self) -> None:
        """Do nothing: it can be had everywhere."""

    def enter(self, job: Job) -> Entered:
        """Return the function's own command line.

        Raises:
            OSError: its arguments cannot be written.
        """
        words = [*job.command]
        if job.told:
            file = job.folder / "arguments"
            arguments.write(file, job.rank, job.inputs, job.outputs)
            words.append(f"@{file}")
        return Entered(words, _environment(job))

    def wait(self, folder: Path, environment: Environment) -> Entered | None:
        """Return None: a function is told where its folder is, and that is not known yet."""

    def leave(self, folder: Path) -> None:
        """Remove the link by which the function found its temporary files."""
        short_home(folder / "home").unlink(missing_ok=True)


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    return Local(OpenBox(), settings.cgroup)


def short_home(home: Path) -> Path:
    """Return the link by which a function finds its temporary files; it may be left by the killed."""
    return _SHORT / f"home-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _environment(job: Job) -> dict[str, str]:
    """Return all that the function may see of the environment: nothing of the worker's."""
    here, home = job.folder / "function", job.folder / "home"
    temporary = home
    if len(os.fsencode(home)) > _LONG_PATH:
        with contextlib.suppress(OSError):
            short = short_home(home)
            short.symlink_to(home)
            temporary = short
    return {
        "LANG": "C.UTF-8",
        **job.environment.seen(here),
        **job.variables,
        "PATH": job.environment.programs(here, Path(sys.executable).parent),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
