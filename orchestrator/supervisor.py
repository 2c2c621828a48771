"""Several server processes that share their addresses, and the one that looks after them.

It serves nothing itself. It holds the addresses, so that no other server comes between while a process is started
again; of those that listen, the kernel gives each new connection to one (SO_REUSEPORT, Linux). The first process must
serve before the others are started: what keeps it from that is told once, and is the end. From then on each that ends
is started again. All end when their supervisor does.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

import structlog

from orchestrator import log
from orchestrator.core.pauses import Pauses
from orchestrator.gateway.counts import Counts, counted_together
from orchestrator.listening import hold
from orchestrator.settings import ServerSettings
from orchestrator.starting import Sibling, StartError

_log = structlog.get_logger()

_FORK = multiprocessing.get_context("fork")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SERVES = ""
"""What a process tells when it serves; anything else is why it cannot."""

_NO_PLACE = "there is no place for the files that ORCHESTRATOR_METRICS_ENABLED needs"


def supervise(settings: ServerSettings) -> bool:
    """Serve by several processes until SIGTERM or SIGINT; return whether all of them ended well.

    Raises:
        StartError: the first process cannot start, or an address is taken.
    """
    with contextlib.ExitStack() as held:
        for variable, address in settings.addresses.items():
            try:
                held.enter_context(hold(address))
            except OSError as error:
                reason = f"{variable} {address} cannot be listened on: {error.strerror}"
                raise StartError(reason) from error
        counts = _counts(held) if settings.metrics_enabled else None
        # Not above: its metrics must know where they count. Imported once, for all processes.
        from orchestrator import server

        # What there is now is never collected, so that the processes go on sharing its memory.
        gc.freeze()
        return _Supervisor(settings, counts, server.serve).run()


def _counts(held: contextlib.ExitStack) -> Counts:
    try:
        return held.enter_context(counted_together())
    except OSError as error:
        raise StartError(f"{_NO_PLACE}: {error}") from error


def _begin(counts: Counts, number: int) -> None:
    try:
        counts.begin(number)
    except OSError as error:
        raise StartError(f"{_NO_PLACE}: {error}") from error


@dataclass
class _Run:
    """One of the processes, while it runs.

    Args:
        process: it.
        words: what it tells.
        began: when, by the monotonic clock.
        reason: why it ends, in its own words.
    """

    process: ForkProcess
    words: Connection
    began: float
    reason: str = ""


class _Supervisor:
    def __init__(
        self, settings: ServerSettings, counts: Counts | None, serve: Callable[[ServerSettings, Sibling], None]
    ) -> None:
        self._settings = settings
        self._counts = counts
        self._serve = serve
        self._runs: dict[int, _Run] = {}
        self._due = {0: 0.0}
        self._pauses = [Pauses() for _ in range(settings.processes)]
        self._serves = False
        self._stopping = False
        self._well = True

    def run(self) -> bool:
        """Look after the processes until all have ended; return whether they ended well."""
        self._orphaned, self._lifeline = os.pipe()
        try:
            with _told_to_stop() as told:
                while self._runs or self._due:
                    self._start_what_is_due()
                    self._look(told)
        finally:
            os.close(self._lifeline)
            os.close(self._orphaned)
        return self._well

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _look(self, told: int) -> None:
        """Wait until something happens, and see to it."""
        patience = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None
        words = [run.words for run in self._runs.values() if not run.words.closed]
        ready = set(wait([told, *words, *(run.process.sentinel for run in self._runs.values())], patience))
        # First of all: what ends because it was asked to is no failure.
        if told in ready:
            os.read(told, 1)
            self._stop()
        for number, run in list(self._runs.items()):
            if run.words in ready:
                self._hear(run)
            if run.process.sentinel in ready:
                self._reap(number)

    def _start(self, number: int) -> None:
        words, sender = _FORK.Pipe(duplex=False)
        run = _Run(_FORK.Process(target=self._work, args=(number, sender)), words, time.monotonic())
        # A signal that comes between must not be heard by what is still a copy of the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            run.process.start()
        except OSError as error:
            words.close()
            self._put_off(number, 0.0, f"no process can be started: {error.strerror}")
        else:
            self._runs[number] = run
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            sender.close()

    def _work(self, number: int, sender: Connection) -> None:
        """Be one of the processes."""
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._lifeline)
        log.configure_process(self._settings.log_level, process=number)

        def serves() -> None:
            # Nobody may hear it any more.
            with contextlib.suppress(OSError):
                sender.send(_SERVES)

        try:
            if self._counts:
                _begin(self._counts, number)
            self._serve(self._settings, Sibling(serves, self._orphaned, self._counts))
        except StartError as error:
            sender.send(str(error))
            sys.exit(1)

    def _hear(self, run: _Run) -> None:
        try:
            word = run.words.recv()
        except EOFError:
            run.words.close()
            return
        if word != _SERVES:
            run.reason = word
        elif not self._serves:
            self._serves = True
            self._due |= {} if self._stopping else dict.fromkeys(range(1, self._settings.processes), 0.0)

    def _reap(self, number: int) -> None:
        run = self._runs.pop(number)
        run.process.join()
        code = run.process.exitcode or 0
        reason = run.reason or _how(code)
        if self._stopping:
            if code not in (0, *(-each for each in _SIGNALS)):
                self._well = False
                _log.error("process.ended", process=number, reason=reason)
        else:
            self._put_off(number, time.monotonic() - run.began, reason)

    def _put_off(self, number: int, seconds: float, reason: str) -> None:
        """Start a process again after a pause, given how long it ran and why it ended."""
        if not self._serves:
            raise StartError(reason)
        pause = self._pauses[number].after(seconds)
        self._due[number] = time.monotonic() + pause
        _log.error("process.ended", process=number, reason=reason, starts_again_in=pause)

    def _stop(self) -> None:
        self._stopping = True
        self._due.clear()
        for run in self._runs.values():
            run.process.terminate()


def _how(code: int) -> str:
    if code < 0:
        return f"the server process was killed by {signal.Signals(-code).name}"
    return f"the server process ended with exit code {code}"


@contextmanager
def _told_to_stop() -> Iterator[int]:
    """Return a descriptor from which a byte can be read for each signal that asks for the end."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = {number: signal.signal(number, lambda *_: _tell(tell)) for number in _SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(tell)


def _tell(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, b"!")
