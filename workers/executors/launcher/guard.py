"""Guards one container: keeps it within its lease, whatever becomes of its worker; takes down what it says and its end.

The container is the engine's, no child of ours: so one that is paused, or that its worker has left, costs nothing, and
goes on where this program does not. It holds a lock as long as it lives, and writes down how the container ended.

A worker that is gone is seen by the end of a pipe. Another process may go on with the run: the file of the lease is
that which the owner of an attempt keeps locked.
"""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from workers.executors.launcher.kernel import die_with_parent
from workers.executors.launcher.log import Log
from workers.executors.lease import left

_POLL_SECONDS = 0.05
_KILLED = 137
_CALL_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
# What podman's first process in a container says, without a name.
_NOT_STARTED = b"failed to exec pid1"
_OVER = ("exited", "stopped", "dead", "created", "configured")


class Guard:
    """Guards a container that was made, and has not begun, or has lost its guard.

    Args:
        engine: words of its command.
        name: of the container.
        lease: a descriptor (see `lease`); None for no lease.
        log_size: bytes of its log that are kept.
        memory: bytes that it may use; 0 for no limit.
        program: that it runs; empty for the image's own.
        ending: a file that is there once somebody ends it.
        begun: whether it runs: it is not to be started once more, should it have ended by now.
    """

    def __init__(
        self,
        engine: list[str],
        name: str,
        lease: int | None,
        log_size: int,
        memory: int,
        program: str,
        ending: str,
        begun: bool,
    ) -> None:
        self._engine = engine
        self._ending = ending
        self._program = program
        self._name = name
        self._lease = lease
        self._log = Log(log_size)
        self._memory = memory
        self._paused = False
        self._begun = begun
        self._lapsed = False

    def run(self, worker: int) -> dict[str, Any]:
        """Start it, and return how it ended: `code`, `status` in the engine's words, `lapsed` if its lease ended it.

        Args:
            worker: a descriptor that can be read when the worker has gone.
        """
        words = ("attach", "--no-stdin", "--sig-proxy=false") if self._begun else ("start", "--attach")
        command, output = [*self._engine, *words, self._name], self._log.writer
        attached = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            # There are no threads here that it could deadlock with.
            preexec_fn=die_with_parent,
        )  # fmt: skip
        os.close(self._log.writer)
        heard = [self._log.reader, worker]
        while attached.poll() is None:
            ready, _, _ = select.select(heard, [], [], self._pace())
            if self._log.reader in ready and not self._log.pass_on():
                heard.remove(self._log.reader)
            if worker in ready:
                heard.remove(worker)
            self._hold(alone=worker not in heard)
        ended = self._ended(alone=lambda: worker not in heard)
        self._log.end()
        # Engines do not always notice: the kernel may have killed another process of it than the first.
        if self._memory and ended.get("code") == _KILLED and not os.path.exists(self._ending):
            with contextlib.suppress(OSError):
                print(
                    f"\n[it was killed, as what uses more than its {self._memory} bytes of memory is]", file=sys.stderr
                )
        if _NOT_STARTED in self._log.last:
            with contextlib.suppress(OSError):
                print(f"[what could not be started is {self._program!r}]", file=sys.stderr)
        sys.stderr.flush()
        return {**ended, "lapsed": self._lapsed} if ended else ended

    def _pace(self) -> float:
        seconds = left(self._lease)
        return min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS

    def _hold(self, *, alone: bool) -> None:
        """Pause it without a lease, and end it if nobody is left who could renew that."""
        over = left(self._lease) <= 0
        if over and alone and not self._is_owned():
            self._lapsed = True
            self._ask("kill", "--signal=KILL", self._name)
            if self._paused:
                # What is frozen dies when it thaws.
                self._ask("unpause", self._name)
                self._paused = False
            time.sleep(_POLL_SECONDS)
        elif over and not self._paused:
            # The worker may have paused it as well.
            self._paused = self._ask("pause", self._name) or self._status().get("status") == "paused"
        elif not over and self._paused:
            self._ask("unpause", self._name)
            self._paused = False

    def _is_owned(self) -> bool:
        """Say whether somebody has the attempt, and could renew its lease."""
        if self._lease is None:
            return False
        try:
            fcntl.flock(self._lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._lease, fcntl.LOCK_UN)
        return False

    def _ended(self, alone: Any) -> dict[str, Any]:
        """Wait for its end, if the engine's command has left it before; return how that was."""
        while True:
            found = self._status()
            if found.get("status") in _OVER or (not found and self._is_gone()):
                return found
            self._hold(alone=alone())
            time.sleep(_AGAIN_SECONDS if not self._paused else _POLL_SECONDS)

    def _status(self) -> dict[str, Any]:
        form = "{{.State.Status}} {{.State.ExitCode}}"
        found = self._said("container", "inspect", f"--format={form}", self._name).split()
        return {"status": found[0], "code": int(found[1])} if len(found) == len(form.split()) else {}

    def _is_gone(self) -> bool:
        asked = self._call("ps", "--all", f"--filter=name=^{self._name}$", "--format={{.Names}}")
        return asked.returncode == 0 and not asked.stdout.strip()

    def _ask(self, *words: str) -> bool:
        return self._call(*words).returncode == 0

    def _said(self, *words: str) -> str:
        return self._call(*words).stdout.decode(errors="replace")

    def _call(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        command = [*self._engine, *words]
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CALL_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return subprocess.CompletedProcess(command, 1, b"", b"")


def main(told: str) -> None:
    """Guard the container that is told.

    Args:
        told: JSON, see `Guard`; `ended` is the file to write its end to, and `lease` a descriptor.
    """
    job = json.loads(told)
    file = job.pop("ended")
    ended = Guard(**job).run(0)
    with contextlib.suppress(OSError):
        draft = file + ".draft"
        with open(draft, "w") as output:
            json.dump(ended, output)
        os.rename(draft, file)
