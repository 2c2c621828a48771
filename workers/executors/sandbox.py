"""The executor `sandbox`: a function runs isolated by bubblewrap, on this machine.

Run as a program, `python -m workers.executors.sandbox`, it says whether a sandbox can be had here.
"""

import marshal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workers.executors import arguments, bubblewrap
from workers.executors.bubblewrap import NoSandboxError, Sandbox
from workers.executors.executor import Environment, Executor, Job, Shared
from workers.executors.launcher import runner
from workers.executors.local import Entered, Local
from workers.executors.places import ARGUMENTS
from workers.settings import WorkerSettings

_RUNNER = Path(runner.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class SandboxBox:
    """What isolates functions.

    Args:
        program: bubblewrap; None looks for it.
        shared: paths of the machine that all functions see.
        shared_memory: bytes that /dev/shm of each may hold.
        private: paths that none may see.
        shown: where lies what they see of /etc; by default in the folder of each.
    """

    program: Path | None = None
    shared: tuple[Shared, ...] = ()
    shared_memory: int = 1024**3
    private: Sequence[Path] = ()
    shown: Path | None = None
    sealed: bool = True

    def check(self) -> None:
        """Try whether a sandbox can be had.

        Raises:
            NoSandboxError: it cannot, or something private would be seen in it.
        """
        bubblewrap.check(bubblewrap.find(self.program), self.shared, self.private)

    def enter(self, job: Job) -> Entered:
        """Return the command line that runs a function in a sandbox of its own.

        Raises:
            NoSandboxError: there is no bubblewrap any more.
            OSError: a file of the sandbox cannot be written.
        """
        sandbox, seen = Sandbox(
            job.folder,
            network=job.network,
            shared=(*self.shared, *job.paths),
            shared_memory=self.shared_memory,
            shown=self.shown,
            python=job.environment,
            variables=job.variables,
        ).place([*job.inputs, *job.outputs])
        given = len(job.inputs)
        words = [*job.command]
        if job.told:
            arguments.write(job.folder / "arguments", job.rank, seen[:given], seen[given:])
            words.append(f"@{ARGUMENTS}")
        # In one that waits it would not see more than its folder.
        given_now = [f"{name}={value}" for name, value in job.variables.items()]
        inside = () if job.network or sandbox.inputs or job.paths else [*given_now, "", *words]
        if inside and job.prepared is not None:
            return Entered((), {}, inside)
        return self._enter(sandbox, words, inside)

    def wait(self, folder: Path, environment: Environment) -> Entered | None:
        """Return the command line of a sandbox in which Python has started and waits.

        Args:
            folder: of an attempt to come; it may have another name by then.
            environment: of its function.

        Raises:
            NoSandboxError: there is no bubblewrap any more.
            OSError: a file of the sandbox cannot be written.
        """
        sandbox = Sandbox(
            folder,
            shared=self.shared,
            shared_memory=self.shared_memory,
            shown=self.shown,
            python=environment,
        )
        # Bound now, and written when the function is known.
        (folder / "arguments").touch()
        return self._enter(sandbox, ["python3", "-c", _RUNNER if environment.folder else _compiled()])

    def _enter(self, sandbox: Sandbox, command: Sequence[str], inside: Sequence[str] = ()) -> Entered:
        words = sandbox.wrap(bubblewrap.find(self.program), command)
        return Entered(words, sandbox.environment(), inside)

    def leave(self, folder: Path) -> None:
        """Do nothing: all that it made goes with its processes, or with the folder."""


@cache
def _compiled() -> str:
    """Return the program that waits in our own Python: as bytecode, as to compile it takes a twentieth of a start."""
    own = Path(sys.executable)
    if own.with_name("python3").resolve() != own.resolve():
        # Another version may not know it.
        return _RUNNER
    code = compile(_RUNNER, "<string>", "exec", dont_inherit=True, optimize=2)
    return f"exec(__import__('marshal').loads({marshal.dumps(code)!r}))"


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    shared = tuple(Shared.parse(path) for path in settings.sandbox_paths)
    box = SandboxBox(
        settings.sandbox_program, shared, settings.sandbox_shared_memory, settings.private, settings.etc_folder
    )
    return Local(box, settings.cgroup)


def main() -> int:
    """Say whether a sandbox can be had here: the exit code, and the reason on standard error."""
    try:
        SandboxBox().check()
    except NoSandboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
