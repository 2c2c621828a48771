"""Child processes that live and die with their supervisor."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import structlog

from orchestrator.embedded import complaints, launch
from orchestrator.embedded.users import User

_LOG_LINES = 20
_POLL_SECONDS = 0.02
_log = structlog.get_logger()


class ProcessError(RuntimeError):
    """A server did not start, or ended on its own; the message says which, why, and what its log says.

    Args:
        message: what happened, and the last lines of its log perhaps.
        complaint: what the process itself said was wrong, in one line; empty where it said nothing.
    """

    def __init__(self, message: str, complaint: str = "") -> None:
        super().__init__(message)
        self.complaint = complaint


class Process:
    """One child process in a session of its own, with its output in a log file.

    Signals of the terminal (Ctrl-C) do not reach it; the end of the supervisor does, see `launch`. Ending it
    ends its whole process group.

    Args:
        name: for messages.
        argv: the command and its arguments. Other users can read these: no secrets.
        log: file that standard output and error are appended to; made with mode 0600.
        env: the whole environment; None gives the supervisor's.
        cwd: working folder; None gives the supervisor's.
        user: whom to run it as; None keeps ours. Needs root.
        stop_signal: asks it to end; sent by `stop`, and by the kernel if the supervisor is gone.
        stop_timeout: seconds that it may take for that before it is killed.

    Attributes:
        argv: of the next start.
        environment: of the next start, None for the supervisor's.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: User | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self.argv = argv
        self.environment = None if env is None else dict(env)
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._stop_timeout = stop_timeout
        self._log_start = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._group_ended = False

    @property
    def pid(self) -> int:
        """The process id; of the last run, if it is over."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.pid

    @property
    def grace(self) -> float:
        """Seconds that it may take to end when it is asked to."""
        return 0.0 if self._stop_signal == signal.SIGKILL else self._stop_timeout

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        if self._child is None:
            return False
        if self._child.poll() is None:
            return True
        self._end_group()
        return False

    def start(self) -> None:
        """Start it, from the main thread: on Linux the child dies with the *thread* that started it.

        Raises:
            RuntimeError: another thread calls, or it runs already.
            OSError: the log file cannot be written, or the working folder does not exist.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{self.name} must be started from the main thread: it would end with this one")
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self._group_ended = False
            self._child = subprocess.Popen(
                launcher(self.argv, self._user, self._stop_signal),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self._cwd,
                start_new_session=True,
            )

    def wait_ready(self, condition: Callable[[], object], timeout: float = 30.0) -> None:
        """Return once the condition is true.

        Args:
            condition: asked again and again; must not block for long.
            timeout: seconds to wait.

        Raises:
            ProcessError: the process ended first, or the time is over; with the last lines of its log.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            if condition():
                return
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready after {timeout:g} s{self._last_words()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running().wait(_POLL_SECONDS)

    def wait_end(self, timeout: float = 30.0) -> None:
        """Return once it has done its work.

        Args:
            timeout: seconds to wait.

        Raises:
            ProcessError: it failed, or the time is over; with the last lines of its log.
        """
        try:
            code = self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} did not end within {timeout:g} s{self._last_words()}") from None
        if code != 0:
            self.check()

    def check(self) -> None:
        """Do nothing if it runs.

        Raises:
            ProcessError: it ended on its own; with the last lines of its log.
        """
        if not self.alive:
            code = self._running().returncode
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ProcessError(f"{self.name} {how}{self._last_words()}", complaints.last(self.log_lines()))

    def stop(self) -> None:
        """Ask it to end, kill it when the time is over, and wait for its end; without effect if it does not run."""
        if self._child is None:
            return
        try:
            self._child.send_signal(self._stop_signal)
            self._child.wait(self._stop_timeout)
        except subprocess.TimeoutExpired:
            _log.warning("process.killed", process=self.name, timeout=self._stop_timeout)
        finally:
            self._end_group()
            self._child.wait()

    def log_lines(self) -> list[str]:
        """Return what this run wrote to its log."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ProcessError(f"{self.name} was not started")
        return self._child

    def _end_group(self) -> None:
        # Once only: as soon as the leader is gone and its group empty, the number may become another's.
        if not self._group_ended:
            self._group_ended = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        lines = self.log_lines()[-_LOG_LINES:]
        if not lines:
            return f"; its log {self.log} is empty"
        return f"; the end of its log {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


class Service(Protocol):
    """What a supervisor looks after: a `Process`, or something that has one."""

    def start(self) -> None:
        """Start it."""

    def check(self) -> None:
        """Raise `ProcessError` if it ended on its own."""

    def stop(self) -> None:
        """End it; without effect if it does not run."""


class Supervisor:
    """Starts services stage by stage, and ends them in the reverse order when its `with` block is left.

    Every one is stopped even if stopping another fails or Ctrl-C is pressed again. Use it in the main thread.
    """

    def __init__(self) -> None:
        self._stages = contextlib.ExitStack()
        self._services: list[Service] = []

    def start(self, *services: Service) -> None:
        """Start services that do not need one another: a stage, whose members are later stopped all at once.

        Raises:
            ProcessError: one did not start.
        """
        stage: list[Service] = []
        self._stages.callback(self._stop, stage)
        for service in services:
            stage.append(service)
            service.start()
            self._services.append(service)

    def check(self) -> None:
        """Do nothing if all services run.

        Raises:
            ProcessError: one ended on its own.
        """
        for service in self._services:
            service.check()

    def stop(self) -> None:
        """End all services, the last stage first.

        Raises:
            ExceptionGroup: some could not be stopped, for these reasons; all others are.
        """
        self._stages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stages.__exit__(kind, error, trace)

    def _stop(self, stage: Sequence[Service]) -> None:
        self._services = [service for service in self._services if service not in stage]
        if not stage:
            return
        with ThreadPoolExecutor(len(stage)) as threads:
            stops = [threads.submit(service.stop) for service in stage]
        errors = [error for stop in stops if isinstance(error := stop.exception(), Exception)]
        if errors:
            raise ExceptionGroup("some services could not be stopped", errors)


def launcher(argv: Sequence[str], user: User | None, death_signal: signal.Signals) -> list[str]:
    """Return the command line that runs another one tied to this process; see `launch`."""
    privileges = [] if user is None else [f"--uid={user.uid}", f"--gid={user.gid}"]
    return [
        sys.executable,
        "-IS",  # without site-packages and the caller's environment: it starts twice as fast
        launch.__file__,
        f"--parent={os.getpid()}",
        f"--death-signal={death_signal.name}",
        *privileges,
        "--",
        *argv,
    ]
