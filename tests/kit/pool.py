"""Processes that are forked from one that has imported a worker already, as those of a worker's pool are."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.kit.waiting import wait_until

_ROOT = Path(__file__).parents[2]
# It answers each line with one: the process that it forked, or how that ended, if it has.
_SERVER = """
import json, os, sys, traceback
from tests.kit.world import run_attempt

def fork(arguments, environment):
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.environ.update(environment)
        run_attempt(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

def ended(pid):
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None

while line := sys.stdin.readline():
    word, *rest = json.loads(line)
    print(json.dumps(fork(*rest) if word == "fork" else ended(*rest)), flush=True)
"""


class Pool:
    """Forks a process for each attempt that it is given; a context manager."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def ask(self, *words: object) -> int | None:
        """Send a line, and return the answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self._lock:
            self._server.stdin.write(json.dumps(words) + "\n")
            self._server.stdin.flush()
            answer: int | None = json.loads(self._server.stdout.readline())
        return answer

    @contextmanager
    def running(self, settings: str, task: str, environment: Mapping[str, str]) -> Iterator["Forked"]:
        """Run an attempt in a process of its own, which is killed at the end of the block.

        Args:
            settings: the worker's, as JSON.
            task: its key.
            environment: what is in the process's environment besides ours.
        """
        process = Forked(self, self.ask("fork", [settings, task], {**os.environ, **environment}) or 0)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class Forked:
    """A process that was forked.

    Args:
        pool: which did that; the process's id is nobody else's until it was asked how that has ended.
        pid: its id.

    Attributes:
        returncode: how it ended, as far as we were told: the number of a signal is negative; None while it runs.
    """

    def __init__(self, pool: Pool, pid: int) -> None:
        self._pool = pool
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end; return how it ended.

        Raises:
            AssertionError: it does not end.
        """
        wait_until(lambda: self.poll() is not None, seconds, f"process {self.pid} to end")
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """Return how it ended; None if it runs."""
        if self.returncode is None:
            self.returncode = self._pool.ask("ended", self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(9)
