"""The container engine of this machine, by its command: podman, or docker.

By the command, not by a library: both engines have nearly the same one, rootless podman needs no daemon for it, and
what a message of it says is what an administrator finds in its documentation.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from workers.executors.executor import UnfitError
from workers.executors.image import Waiting

_CALL_SECONDS = 60.0
_POLL_SECONDS = 0.1
_SHOWN = 400
# The oldest control groups in which a user may limit what it runs.
_V2 = "v2"


class EngineError(OSError):
    """The engine cannot do what it was asked for; the message is its own last line."""


@dataclass(frozen=True)
class State:
    """A container as the engine sees it.

    Args:
        status: created, running, paused, exited and such, in the engine's words.
        code: its exit code, once it has ended.
        pid: of its first process; 0 where there is none.
    """

    status: str
    code: int
    pid: int

    @property
    def is_new(self) -> bool:
        """Whether it was made, and has never begun."""
        return self.status in ("created", "configured", "initialized")

    @property
    def goes_on(self) -> bool:
        """Whether anything of it may go on, or can be made to."""
        return self.status not in ("created", "configured", "exited", "dead", "stopped", "initialized")


class Engine:
    """One engine.

    Args:
        command: its program and its own options.
    """

    def __init__(self, command: str) -> None:
        self.words = shlex.split(command)

    @property
    def environment(self) -> dict[str, str]:
        """What the engine's command gets of the worker's environment: nothing of the worker's own settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}

    @cached_property
    def is_podman(self) -> bool:
        """Whether it is podman, which has a few options that docker has not.

        Raises:
            EngineError: it is not there.
        """
        return "podman" in self.ask("--version").lower()

    @cached_property
    def is_rootless(self) -> bool:
        """Whether it runs in the name of this user alone, so that root in a container is this user.

        Raises:
            EngineError: it does not say.
        """
        if self.is_podman:
            return self.ask("info", "--format={{.Host.Security.Rootless}}").strip() == "true"
        return "rootless" in self.ask("info", "--format={{.SecurityOptions}}")

    def check(self) -> None:
        """See to it that it is there, and can limit and pause what it runs.

        Raises:
            UnfitError: it is not, or cannot.
        """
        command = shlex.join(self.words)
        way_out = "see docs/operate/executors.md, or choose another ORCHESTRATOR_EXECUTOR"
        try:
            version = "{{.Client.Version}}" if self.is_podman else "{{.Server.Version}}"
            self.ask("version", f"--format={version}")
            if self.is_podman and self.is_rootless:
                groups = self.ask("info", "--format={{.Host.CgroupsVersion}}").strip()
                if groups != _V2:
                    raise UnfitError(
                        f"{command} of this user can neither limit nor pause containers with control groups {groups}: "
                        f"this machine needs control groups v2; {way_out}"
                    )
        except EngineError as error:
            raise UnfitError(f"the container engine {command} cannot be used: {error}; {way_out}") from error

    def ask(self, *words: str, seconds: float = _CALL_SECONDS) -> str:
        """Run a command of the engine; return what it says.

        Args:
            words: of the command.
            seconds: that it may take.

        Raises:
            EngineError: it failed, or took too long.
        """
        try:
            done = subprocess.run(
                [*self.words, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
                env=self.environment,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"{self.words[0]} {words[0]} has not answered in {seconds:g} seconds") from None
        except OSError as error:
            raise EngineError(f"{self.words[0]} cannot be run: {error.strerror}") from error
        if done.returncode:
            raise EngineError(_last(done.stderr, done.returncode))
        return done.stdout.decode(errors="replace")

    def follow(self, words: Sequence[str], seconds: float, waiting: Waiting) -> tuple[int, str]:
        """Run a command that may take long; return its exit code, and all that it said.

        Args:
            words: of the command.
            seconds: that it may take.
            waiting: is called meanwhile; what it raises ends the command.

        Raises:
            EngineError: it cannot be run.
            TimeoutError: it took too long.
        """
        deadline = time.monotonic() + seconds
        try:
            running = subprocess.Popen(
                [*self.words, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.environment,
            )
        except OSError as error:
            raise EngineError(f"{self.words[0]} cannot be run: {error.strerror}") from error
        with running:
            try:
                while True:
                    try:
                        said, _ = running.communicate(timeout=_POLL_SECONDS)
                        return running.returncode, said.decode(errors="replace")
                    except subprocess.TimeoutExpired:
                        waiting()
                        if time.monotonic() > deadline:
                            raise TimeoutError(f"it took more than {seconds:g} seconds") from None
            finally:
                # TERM: it is to clean up what it has made.
                running.terminate()
                try:
                    running.communicate(timeout=_CALL_SECONDS)
                except subprocess.TimeoutExpired:
                    running.kill()

    def state(self, name: str) -> State | None:
        """Return how a container is; None when there is none of that name.

        Raises:
            EngineError: it does not say.
        """
        if not self.named(f"name=^{name}$"):
            return None
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"
        try:
            status, code, pid = self.ask("container", "inspect", f"--format={form}", name).split()
        except (EngineError, ValueError):
            if not self.named(f"name=^{name}$"):
                return None
            raise
        return State(status, int(code), int(pid))

    def named(self, wanted: str) -> list[str]:
        """Return the names of the containers that a filter finds, those that have ended too.

        Args:
            wanted: the filter.

        Raises:
            EngineError: it does not say.
        """
        return self.ask("ps", "--all", f"--filter={wanted}", "--format={{.Names}}").split()


def _last(said: bytes, code: int) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    text = lines[-1].removeprefix("Error: ") if lines else f"it ended with {code}"
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"
