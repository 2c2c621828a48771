"""The command that a launcher runs, in a sandbox or without."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys

from workers.executors.launcher.kernel import die_with_parent, limit
from workers.executors.launcher.options import Options

_CHUNK = 64 * 1024


class Command:
    """The command that runs.

    Args:
        command: its words.
        environment: all that it sees of one.
        options: how it is run.
        output: a descriptor for what it says.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: list[str], environment: dict[str, str], options: Options, output: int) -> None:
        self._options = options
        self._said = b""
        self._status = -1
        self._start: socket.socket | None = None
        passed: tuple[int, ...] = ()
        if options.waits:
            its, self._start = socket.socketpair()
            passed = (its.detach(),)
            command = [*command, str(passed[0])]
        if options.boxed:
            self._status, says = os.pipe()
            held, release = os.pipe()
            # By a file in memory: the command can read the command line of the sandbox's first process.
            end = command.index("--")
            given = _in_memory(b"".join(os.fsencode(word) + b"\0" for word in command[1:end]))
            passed += (says, held, given)
            own = ["--json-status-fd", str(says), "--block-fd", str(held), "--args", str(given)]
            if options.syscalls:
                passed += ((rules := _in_memory(bytes.fromhex(options.syscalls))),)
                own += ["--seccomp", str(rules)]
            command = [command[0], *own, *command[end:]]

        # There are no threads here that it could deadlock with.
        def prepare() -> None:
            die_with_parent()
            limit(options)

        try:
            self.child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                pass_fds=passed,
                # Bubblewrap dies with us by itself, and is limited before it goes on: so no copy of this process is
                # made, which would cost more than all that is done in it.
                preexec_fn=None if options.boxed else prepare,
            )
        except subprocess.SubprocessError as error:
            raise OSError(0, f"its limits cannot be set: {error}") from error
        self.group = self.child.pid
        for descriptor in passed:
            os.close(descriptor)
        if options.boxed:
            try:
                self._release(release)
            except OSError:
                # It would go on without its limits as soon as we have gone.
                self.child.kill()
                raise

    @property
    def waiting(self) -> list[int]:
        """The descriptor that can be read once the command waits for another; none where it never does."""
        return [] if self._start is None else [self._start.fileno()]

    def wait(self) -> int:
        """Hear that the command waits for another; return the descriptor, which tells nothing more."""
        assert self._start is not None  # noqa: S101 - narrows the type
        self._start.recv(1)
        return self._start.fileno()

    def start(self, words: list[str]) -> None:
        """Have a command that waits become another.

        Args:
            words: of that one.
        """
        # One that has died reads nothing.
        if self._start is not None:
            with contextlib.suppress(OSError), self._start:
                self._start.sendall(b"".join(os.fsencode(word) + b"\0" for word in words))

    def _release(self, release: int) -> None:
        """Let the sandbox's first process go on, once it is limited; it leads the group of the function."""
        while b"\n" not in self._said and (told := os.read(self._status, _CHUNK)):
            self._said += told
        if b"\n" in self._said:
            self.group = int(json.loads(self._said.partition(b"\n")[0])["child-pid"])
            limit(self._options, self.group)
            if self._options.processes:
                # Not before: this counts what runs in the sandbox, and outside it would count all of this user.
                resource.prlimit(self.group, resource.RLIMIT_NPROC, (self._options.processes,) * 2)
        os.close(release)

    def ask_to_end(self) -> None:
        """Send TERM to it and its group; a sandbox's first process does not hear it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGTERM)

    def close(self) -> None:
        """Let go of what tells how it is, once it has ended."""
        if self._start is not None:
            self._start.close()
        if self._options.boxed:
            os.close(self._status)

    def exit_code(self) -> int:
        """Return its code, once it has ended."""
        code: int = self.child.returncode
        if code > 0 and self._options.boxed:
            while told := os.read(self._status, _CHUNK):
                self._said += told
            if b"exit-code" not in self._said:
                print("the command cannot be started in its sandbox; see the lines above", file=sys.stderr)
                return 127
        return code if code >= 0 else 128 - code


def _in_memory(content: bytes) -> int:
    """Return a descriptor from which a content can be read, without a file."""
    descriptor = os.memfd_create("launch")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
