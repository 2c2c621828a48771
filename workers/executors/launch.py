"""Runs one command and sees to it that nothing of it survives; a program of its own, with the standard library.

It stands between the worker and the function for two reasons. Limits and process groups must be set after the
fork, and Python code between fork and exec (`preexec_fn`) can deadlock in a worker that has gRPC's threads: here
they are set in a fresh process with one thread, and inherited. And when the worker is killed with -9, something
must be left to end the function: this program's standard input is a pipe from the worker, and its end is the
order to end everything, given by the worker or by the worker's death.

It also keeps the function within its lease, whatever becomes of the worker's other processes: as soon as the lease is
over, another node may run the task, and the function is paused until the lease is renewed. One that is to end then is
killed at once, since it may not run on to hear of it.

What the command says comes through a pipe to the log, our standard error: to its limit, the rest is counted.

Started as `launch.py OPTIONS COMMAND…`, with `Options` as JSON. The end of standard input is the order to end, with
TERM first; `KILL` before it is the order to end at once. Exits with the command's code, 128 + n after signal n, 127 if
it cannot be started.
"""

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_SECONDS = 0.05
# States of a process that does not run and cannot fork: stopped, traced, ended.
_STILL = frozenset("TtZX")
# One that was stopped may just have forked; one that waits for a disk stops when it no longer does.
_PASSES = 10
# The one that goes on while the machine is suspended, where there is one.
_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
_CHUNK = 64 * 1024
# Of a log that is cut the end is kept too: it says why a function failed.
_TAIL = 64 * 1024

KILL = b"k"
"""The order to end at once."""


@dataclass(frozen=True)
class Options:
    """How a command is run.

    Args:
        grace: seconds between TERM and KILL.
        memory: bytes of address space of each process; 0 for no limit.
        file_size: bytes of each file that it writes.
        open_files: of each process.
        processes: and threads; 0 for no limit. Only with `boxed`, as elsewhere the kernel would count all that this
            user runs; and not for root, whom the kernel does not limit.
        log_size: bytes of the log that are kept.
        lease: a descriptor (see `left`); None for no lease.
        boxed: whether the command is bubblewrap.
        cgroup: the folder of a control group to run in; empty for the launcher's.
        syscalls: a filter of system calls for bubblewrap, in hexadecimal digits; empty for none.
    """

    grace: float
    memory: int
    file_size: int
    open_files: int
    processes: int
    log_size: int
    lease: int | None = None
    boxed: bool = False
    cgroup: str = ""
    syscalls: str = ""


def clock() -> float:
    """Return the time by which leases are believed in, in seconds; all processes of a machine share it."""
    return time.clock_gettime(_CLOCK)


def left(lease: int | None) -> float:
    """Return for how many seconds a lease is still believed to hold; it may have been over for as long.

    Args:
        lease: a descriptor of a file whose time of modification is the end by `clock`: so it can be renewed on a full
            disk too, and by whoever finds the file. None: without end.
    """
    return math.inf if lease is None else os.fstat(lease).st_mtime - clock()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies (Linux)."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    options, words = Options(**json.loads(arguments[0])), arguments[1:]
    # Orphaned grandchildren, those in sessions of their own too, become our children, and can be found.
    become_subreaper()
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    for number in (signal.SIGCHLD, *_ORDERS):
        # A handler, not SIG_IGN: what is ignored stays ignored in the command.
        signal.signal(number, lambda *_: None)
    log = _Log(options.log_size)
    try:
        command = _Command(words, options, log.writer)
    except OSError as error:
        print(f"{words[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    finally:
        os.close(log.writer)
    try:
        _wait(command, wake, options, log)
    finally:
        _end_all(command.child)
        log.end()
    return command.exit_code()


def _in_memory(content: bytes) -> int:
    """Return a descriptor from which a content can be read, without a file."""
    descriptor = os.memfd_create("launch")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def become_subreaper() -> None:
    """Have the orphans among our descendants become our children (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


class _Command:
    """The command that runs.

    Args:
        command: its words.
        options: how it is run.
        output: a descriptor for what it says.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: list[str], options: Options, output: int) -> None:
        self._options = options
        self._said = b""
        self._status = -1
        passed: tuple[int, ...] = ()
        if options.boxed:
            self._status, says = os.pipe()
            held, release = os.pipe()
            # By a file in memory: the command can read the command line of the sandbox's first process.
            end = command.index("--")
            given = _in_memory(b"".join(os.fsencode(word) + b"\0" for word in command[1:end]))
            passed = (says, held, given)
            own = ["--json-status-fd", str(says), "--block-fd", str(held), "--args", str(given)]
            if options.syscalls:
                passed += ((rules := _in_memory(bytes.fromhex(options.syscalls))),)
                own += ["--seccomp", str(rules)]
            command = [command[0], *own, *command[end:]]

        # There are no threads here that it could deadlock with.
        def prepare() -> None:
            die_with_parent()
            _limit(options)

        try:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                pass_fds=passed,
                preexec_fn=prepare,
            )
        except subprocess.SubprocessError as error:
            raise OSError(0, f"its limits cannot be set: {error}") from error
        self.group = self.child.pid
        if options.boxed:
            for descriptor in passed:
                os.close(descriptor)
            self._release(release)

    def _release(self, release: int) -> None:
        """Let the sandbox's first process go on, once it is limited; it leads the group of the function."""
        while b"\n" not in self._said and (told := os.read(self._status, _CHUNK)):
            self._said += told
        if b"\n" in self._said:
            self.group = int(json.loads(self._said.partition(b"\n")[0])["child-pid"])
            if self._options.processes:
                # Not before: this counts what runs in the sandbox, and outside it would count all of this user.
                resource.prlimit(self.group, resource.RLIMIT_NPROC, (self._options.processes,) * 2)
        os.close(release)

    def ask_to_end(self) -> None:
        """Send TERM to it and its group; a sandbox's first process does not hear it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGTERM)

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


class _Log:
    """What the command says, on its way to standard error.

    Args:
        size: bytes that are kept.

    Attributes:
        reader: becomes readable when something was said.
        writer: for the command.
    """

    def __init__(self, size: int) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._size = size
        self._room = max(size - _TAIL, size // 2)
        self._tail = bytearray()
        self._cut = 0

    def pass_on(self) -> bool:
        """Pass on what was said since; return whether more may come."""
        try:
            chunk = os.read(self.reader, _CHUNK)
        except BlockingIOError:
            return True
        kept, rest = chunk[: self._room], chunk[self._room :]
        self._room -= len(kept)
        rest = self._write(kept) + rest
        self._tail += rest
        surplus = len(self._tail) - min(_TAIL, self._size // 2)
        if surplus > 0:
            self._cut += surplus
            del self._tail[:surplus]
        return bool(chunk)

    def end(self) -> None:
        """Write the end of what was said, and how much is missing before it. Nobody says anything any more."""
        while self.pass_on() and select.select([self.reader], [], [], 0)[0]:
            pass
        if self._cut:
            self._write(f"\n[{self._cut} bytes are cut from this log here: it may have {self._size}]\n".encode())
        self._write(bytes(self._tail))

    def _write(self, text: bytes) -> bytes:
        """Return what could not be written, as on a full disk: the command is to go on."""
        try:
            while text:
                text = text[os.write(2, text) :]
        except OSError:
            self._room = 0
        return text


def _wait(command: _Command, wake: int, options: Options, log: _Log) -> None:
    pause = _Pause(command.child.pid)
    deadline: float | None = None
    heard = [wake, sys.stdin.fileno(), log.reader]
    while command.child.poll() is None:
        seconds = left(options.lease)
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0:
            pause.end()
        elif deadline is None:
            pause.hold()
        else:
            return
        # Not until the lease is over: a sleep does not count the time for which the machine is suspended.
        pace = min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS
        ready, _, _ = select.select(heard, [], [], pace)
        if log.reader in ready and not log.pass_on():
            heard.remove(log.reader)
        signals = os.read(wake, 4096) if wake in ready else b""
        ordered = any(number in signals for number in _ORDERS)
        if sys.stdin.fileno() in ready:
            if os.read(sys.stdin.fileno(), 1) == KILL:
                return
            heard.remove(sys.stdin.fileno())
            ordered = True
        if ordered and deadline is None:
            deadline = time.monotonic() + options.grace
            command.ask_to_end()


class _Pause:
    """The function's processes, kept from running for a while.

    Args:
        group: of the function; where there is no /proc to look into, it must do.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._stopped: set[int] = set()
        self._whole = False

    def hold(self) -> None:
        """Stop what runs; to be repeated, since others may continue it."""
        if self._whole and all(_state(pid) in _STILL for pid in self._stopped):
            return
        self._whole = calm = False
        for _ in range(_PASSES):
            running = [pid for pid, state in self._found() if state not in _STILL]
            if calm and not running:
                self._whole = True
                return
            # A second look: one that forked while we looked may have stopped before we came to it.
            calm = not running
            _signal(running, signal.SIGSTOP)
            self._stopped.update(running)

    def end(self) -> None:
        """Let what was stopped go on."""
        _signal(self._stopped, signal.SIGCONT)
        self._stopped.clear()
        self._whole = False

    def _found(self) -> list[tuple[int, str]]:
        """Return the ids and states of our descendants."""
        children = _processes()
        if not children:
            return [(-self._group, "")]
        found, parents = [], [os.getpid()]
        while parents:
            born = children.get(parents.pop(), [])
            found += born
            parents += [pid for pid, _ in born]
        return found


def _end_all(child: "subprocess.Popen[bytes]") -> None:
    """Kill the group and every descendant, and reap them; a killed parent's children come to us in turn."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        # Where there is no /proc, the group must do.
        _signal([pid for pid, _ in _processes().get(os.getpid(), [])], signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _processes() -> dict[int, list[tuple[int, str]]]:
    """Return the ids and states of the children of each process; nothing where there is no /proc."""
    children: dict[int, list[tuple[int, str]]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = _fields(status)
            children.setdefault(int(parent), []).append((int(status.parent.name), state))
    return children


def _state(pid: int) -> str:
    """Return the state of a process, X when there is none (any more)."""
    status = Path("/proc") / str(pid) / "stat"
    try:
        return _fields(status)[0]
    except OSError:
        return "X" if pid > 0 else ""


def _fields(status: Path) -> list[str]:
    """Return the state and the parent; they come after the name, in brackets, which may hold anything."""
    return status.read_text(errors="replace").rpartition(")")[2].split()[:2]


def _signal(processes: Iterable[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _limit(options: Options) -> None:
    if options.cgroup:
        Path(options.cgroup, "cgroup.procs").write_text("0")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, options.file_size)
    _lower(resource.RLIMIT_NOFILE, options.open_files)
    if options.memory:
        _lower(resource.RLIMIT_AS, options.memory)


def _lower(limit: int, value: int) -> None:
    soft, highest = (math.inf if each == resource.RLIM_INFINITY else each for each in resource.getrlimit(limit))
    value = int(min(value, highest))
    # The soft limit on open files stays: there are programs that close as many at their start.
    resource.setrlimit(limit, (int(min(value, soft)) if limit == resource.RLIMIT_NOFILE else value, value))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
