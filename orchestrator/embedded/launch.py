"""Starts a command that ends when its supervisor does, even if the supervisor is killed with -9.

Run as `python -m orchestrator.embedded.launch [options] -- COMMAND ...`; the command takes the launcher's place
and keeps its process id. Only Linux can tie a child to its parent: elsewhere a supervisor that is killed with
-9 leaves its children behind. Imports the standard library only, to start in milliseconds.
"""

import argparse
import ctypes
import os
import shutil
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop privileges, tie the process to its parent, become the command."""
    options = _parser().parse_args()
    # Found now: another user may not be able to enter Python's own library, of which a search needs more.
    program = shutil.which(options.command[0]) or options.command[0]
    # First the user, then the tie: a change of credentials cuts it.
    if options.gid is not None:
        os.setgroups([])
        os.setgid(options.gid)
    if options.uid is not None:
        os.setuid(options.uid)
    if sys.platform == "linux":
        _tie_to_parent(options.death_signal)
    if options.parent is not None and os.getppid() != options.parent:
        sys.exit(f"{options.command[0]} was not started: its supervisor has ended")
    # A supervisor may block signals or, started with `&`, ignore them; its children must not inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(program, options.command)  # noqa: S606 - the very purpose; no shell is involved
    except OSError as error:
        sys.exit(f"{options.command[0]} cannot be started: {error.strerror}")


def _tie_to_parent(death_signal: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot tie the process to its parent: {os.strerror(code)}")


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[name]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{name!r} is no signal; write for example SIGTERM") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.embedded.launch", description=__doc__)
    parser.add_argument("--uid", type=int, help="user id to change to; needs root")
    parser.add_argument("--gid", type=int, help="group id to change to, without other groups; needs root")
    parser.add_argument("--parent", type=int, help="process id of the supervisor: start nothing if it is gone")
    parser.add_argument(
        "--death-signal",
        type=_signal_number,
        default=signal.SIGTERM,
        help="what the command receives when the supervisor ends (default: SIGTERM)",
    )
    parser.add_argument("command", nargs="+", help="the command and its arguments, after --")
    return parser


if __name__ == "__main__":
    main()
