"""What SIGINT, SIGTERM and SIGHUP do to a process that must clean up: it exits by its `with` and `finally` blocks."""

import atexit
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE = 130


class Interrupted(SystemExit):
    """The process was told to end."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


def exit_on(*signals: signal.Signals) -> None:
    """Have these signals raise `Interrupted` in the main thread, from now on.

    Not KeyboardInterrupt: click would make it an exit code of its own, Python a traceback. What comes while the first
    one takes effect has none: else it would break off the very clean-up that the first has begun, as where a terminal
    that is closed sends SIGHUP and a supervisor SIGTERM at once.
    """
    for number in signals:
        signal.signal(number, _interrupt)
    # Python's own end restores the default, by which a second Ctrl-C would hide the exit code.
    atexit.register(signal.pthread_sigmask, signal.SIG_BLOCK, signals)


@contextmanager
def ending_with(say: Callable[[], object]) -> Iterator[None]:
    """Say something when the block has ended because the process was told to end."""
    try:
        yield
    except Interrupted:
        with shielded():
            say()
        raise


@contextmanager
def shielded() -> Iterator[None]:
    """Let no signal interrupt a clean-up; what arrives meanwhile has no effect. For the main thread."""
    before = {number: signal.signal(number, _ignore) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    if not _is_ending():
        raise Interrupted


def _is_ending() -> bool:
    """Say whether this thread is in a block that cleans up after an interruption."""
    handled: BaseException | None = sys.exception()
    while handled is not None and not isinstance(handled, Interrupted):
        handled = handled.__context__
    return handled is not None


def _ignore(*_: object) -> None:
    # A function, not SIG_IGN, which child processes would inherit.
    return
