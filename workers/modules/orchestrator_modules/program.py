"""The program that this process runs: how it was started, how it ends, and how it is started again in its place.

The same process then runs it anew, so that whoever started it notices nothing.
"""

import atexit
import logging
import os
import secrets
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from orchestrator_modules import children
from orchestrator_modules.frames import Program

END_SECONDS = 10.0
"""How long a script's process may take to end once it is told to."""

_COMMAND = "ORCHESTRATOR_MODULE_COMMAND"
_PROCESS = "ORCHESTRATOR_MODULE_PROCESS"

STARTED = Program((sys.executable, *sys.orig_argv[1:]), str(Path.cwd()))
BECAUSE = os.environ.pop(_COMMAND, "")
"""The command because of which this process was started again; empty without."""
PROCESS = os.environ.pop(_PROCESS, "") or secrets.token_hex(16)
"""Random; by it the orchestrator tells a process from an earlier one of its name. Started again, it is the same."""


def told(process: str, command: str) -> dict[str, str]:
    """Return the variables that tell a program that is started again that it is.

    Args:
        process: `PROCESS` of the one before.
        command: because of which; empty without.
    """
    return {_PROCESS: process, _COMMAND: command}


class _Again:
    """Whether this process is started again when it ends.

    Attributes:
        process: the process of which that holds: a forked child ends as it likes.
        command: what its new program is told.
    """

    process = 0
    command = ""


def end(again: bool, command: str = "") -> None:
    """End this process, with code 0: its own handler of SIGINT ends its main loop, else it ends after some seconds.

    Args:
        again: whether the same command line is started in its place.
        command: the command that wants it, which the new program is told; empty without.
    """
    if again:
        _Again.process, _Again.command = os.getpid(), command
    threading.Thread(target=_force, args=(END_SECONDS,), name="end", daemon=True).start()
    interrupt()


def interrupt() -> None:
    """Raise SIGINT in this process, as Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


def end_if_over(seconds: float) -> None:
    """End this process, with code 0, if its main thread has ended some seconds from now, and others hold it.

    Args:
        seconds: from now.
    """
    threading.Thread(target=_force, args=(seconds, True), name="end", daemon=True).start()


def _force(seconds: float, if_over: bool = False) -> None:
    # Nobody sets it: a timer of `threading` would keep the process.
    threading.Event().wait(seconds)
    if if_over and threading.main_thread().is_alive():
        return
    _start_again()
    _flush()
    os._exit(os.EX_OK)


@atexit.register
def _start_again() -> None:
    if _Again.process != os.getpid():
        return
    atexit.unregister(_start_again)
    if threading.current_thread() is threading.main_thread():
        with suppress(Exception):
            # What others wanted to do at the end.
            atexit._run_exitfuncs()
    children.end_all()
    _flush()
    os.chdir(STARTED.folder)
    os.execve(STARTED.command[0], STARTED.command, os.environ | told(PROCESS, _Again.command))  # noqa: S606 - no shell


def _flush() -> None:
    with suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
