"""The run of one command, from its start to the end of all that descends from it."""

import os
import select
import signal
import sys
import time

from workers.executors.launcher import options as orders
from workers.executors.launcher.command import Command
from workers.executors.launcher.kernel import become_subreaper
from workers.executors.launcher.line import Line
from workers.executors.launcher.log import Log
from workers.executors.launcher.options import Options
from workers.executors.launcher.tree import Pause, end_all
from workers.executors.lease import left

_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_SECONDS = 0.05


def launch(line: Line, options: Options, words: list[str], environment: dict[str, str]) -> tuple[int, bool]:
    """Run a command to its end, and end all that it started.

    Args:
        line: gives orders; its end is the order to end, with TERM first.
        options: how it is run.
        words: of the command.
        environment: all that it sees of one.

    Returns:
        Its exit code, and whether it was in a sandbox and has ended by itself: then this process is as it was before.
    """
    # Orphaned grandchildren, those in sessions of their own too, become our children, and can be found.
    become_subreaper()
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    for number in (signal.SIGCHLD, *_ORDERS):
        # A handler, not SIG_IGN: what is ignored stays ignored in the command.
        signal.signal(number, lambda *_: None)
    log = Log(options.log_size)
    try:
        command = Command(words, environment, options, log.writer)
    except OSError as error:
        print(f"{words[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        return 127, False
    finally:
        os.close(log.writer)
    leases = [] if options.lease is None else [options.lease]
    try:
        by_itself = _wait(command, line, wake, options, log, leases)
    finally:
        end_all(command.child)
        log.end()
    code = command.exit_code()
    command.close()
    signal.set_wakeup_fd(-1)
    for descriptor in (wake, alarm, *leases):
        os.close(descriptor)
    return code, by_itself and options.boxed


def _wait(command: Command, line: Line, wake: int, options: Options, log: Log, leases: list[int]) -> bool:
    """Wait for its end; say whether it has run, and nobody ordered it. A lease that is handed over joins the others."""
    pause = Pause(command.child.pid)
    deadline: float | None = None
    held, waits = False, options.waits
    heard = [wake, line.descriptor, log.reader, *command.waiting]
    while command.child.poll() is None:
        seconds = left(leases[-1] if leases else None)
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0 and not held:
            pause.end()
        elif deadline is None:
            pause.hold()
        else:
            return False
        # Not until the lease is over: a sleep does not count the time for which the machine is suspended.
        pace = min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS
        ready, _, _ = select.select(heard, [], [], None if waits else pace)
        if log.reader in ready and not log.pass_on():
            heard.remove(log.reader)
        if waits and not {*command.waiting}.isdisjoint(ready):
            heard.remove(command.wait())
            line.say(orders.WAITS)
        signals = os.read(wake, 4096) if wake in ready else b""
        ordered = any(number in signals for number in _ORDERS)
        if line.descriptor in ready:
            told, lent = line.order()
            leases += lent
            if told == orders.KILL:
                return False
            if told == orders.START:
                waits = False
                command.start(line.read())
            elif told:
                held = told == orders.PAUSE
            else:
                heard.remove(line.descriptor)
                ordered = True
        if ordered and waits:
            return False
        if ordered and deadline is None:
            deadline = time.monotonic() + options.grace
            command.ask_to_end()
    return deadline is None and not waits
