"""The agent of a node: a process beside the worker that keeps its attempts alive, and cleans up after what died.

It is a process of its own because those that it looks after may hang or be killed: the worker's main process waits for
brokers, and the pool's processes run for hours. It knows what runs from the node's folder alone (see `folder`), so it
can be killed and started again at any time. It ends when its standard input does, that is with the worker, however
that went; the attempts of a worker that was killed are reported before.

Started as `python -m workers.node.agent`: the first line of standard input holds the worker's settings as JSON, each
byte after it is a command.
"""

import contextvars
import select
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Self

import structlog

from orchestrator import health
from orchestrator import log as logs
from workers import folder, processes
from workers.channels import Channels, connect
from workers.consent.declines import Reconsideration
from workers.consent.policy import Consent
from workers.executors import registry
from workers.folder import Place
from workers.node.adoption import Adoption
from workers.node.cleanup import Cleanup
from workers.node.heartbeat import Heartbeat
from workers.node.readiness import Readiness
from workers.node.retention import Retention
from workers.node.seats import Seats
from workers.node.succession import Succession
from workers.run import orders
from workers.settings import WorkerSettings

log = structlog.get_logger()

_LOOK_SECONDS = 0.1
# What is ordered to end and has not, long after its function must have been killed, hangs somewhere else.
_HANGING_SECONDS = 10.0

# What is cleaned up there has no folder of this node.
_LOGS = Path("logs")
# Each may wait for a function to end.
_CLEANUPS = 8

FINISH_SECONDS = 5.0
"""How much longer than the kill grace an agent sees to what is left, after its worker."""


class Command(bytes, Enum):
    """What the worker's main process tells the agent."""

    BEAT = b"b"
    """Beat at once."""
    READS = b"r"
    """The worker reads its queue."""
    DRAIN = b"d"
    """The worker ends: what runs may end within the drain time; told again, it may no more."""
    QUIT = b"q"
    """The worker ends: what runs is to be released at once."""


class Agent:
    """Looks after a node's folder, until it is closed.

    Args:
        settings: the worker's.
        channels: the organization's connections.
    """

    def __init__(self, settings: WorkerSettings, channels: Channels) -> None:
        self._settings = settings
        self._folder = settings.node_folder
        self._beats = [
            Heartbeat(client, settings.node, self._folder, settings.concurrency) for client in channels.clients
        ]
        clients = {client.channel: client for client in channels.clients}
        self._cleanup = Cleanup(clients, settings.store_root, registry.make(settings), settings.task_kill_grace)
        self._succession = Succession(settings)
        self._seats = Seats(settings)
        self._adoption = Adoption(settings)
        self._retention = Retention(settings)
        self._reconsideration = Reconsideration(channels, settings.organization, Consent.of(settings))
        self.readiness = Readiness(self._beats)
        self._drained: float | None = None
        self._receipts: set[Path] = set()
        self._frozen: dict[Place, float] = {}
        # Not in the thread that looks: a cleanup may take long, and nobody's order may wait for it, nor for each other.
        self._cleaner = ThreadPoolExecutor(_CLEANUPS, thread_name_prefix="cleanup")
        self._cleaning: dict[Path, Future[None]] = {}

    def __enter__(self) -> Self:
        # One that was killed while it ended has left it.
        self._seats.clear()
        self._succession.find()
        for beat in self._beats:
            beat.start()
        self._reconsideration.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._succession.close()
        self._seats.clear()
        self._cleaner.shutdown()
        for beat in self._beats:
            beat.end()
        self._reconsideration.end()
        for beat in self._beats:
            beat.join()
        # A call of it may wait for an answer that nobody needs any more.
        self._reconsideration.join(_LOOK_SECONDS)

    def obey(self, command: Command) -> None:
        """Do what the worker's main process says."""
        if command is Command.BEAT:
            for beat in self._beats:
                beat.beat_now()
            return
        if command is Command.READS:
            self.readiness.signs.note()
            return
        again = self._drained is not None
        seconds = 0.0 if again or command is Command.QUIT else self._settings.drain_seconds
        self._drained = time.monotonic() + seconds
        self._cleanup.leaving = True
        if self._succession.lasts:
            self._seats.leave()
        self.readiness.end()
        log.info("worker.draining", seconds=seconds)

    def look(self) -> bool:
        """Look at the folder once, and do what is due; return whether anything is left in it, but for other workers."""
        self._cleaning = {path: work for path, work in self._cleaning.items() if not _over(path, work)}
        if self._adoption.due():
            self._adoption.touch()
            nodes = self._folder.parent
            if self._drained is None and nodes not in self._cleaning:
                self._clean(nodes, self._adoption.run)
        if self._retention.due() and _LOGS not in self._cleaning:
            self._clean(_LOGS, self._retention.run)
        self._succession.bury()
        found = folder.places(self._folder)
        for place in found:
            if place.folder not in self._cleaning and (lock := self._cleanup.seize(place)) is not None:
                self._bury(place, lock)
            if self._drained is not None and time.monotonic() >= self._drained:
                self._give_back(place)
            self._end_if_hanging(place)
            self._end_if_frozen(place)
        self._frozen = {place: seconds for place, seconds in self._frozen.items() if place in found}
        receipts = set(folder.receipts(self._folder))
        if receipts - self._receipts:
            self.obey(Command.BEAT)
        self._receipts = receipts
        folder.tidy(self._folder)
        left = [place for place in found if self._keeps and self._succession.has(place)]
        return len(found) > len(left) or bool(receipts)

    def finish(self) -> None:
        """See to what is left when the worker has ended, for a limited time."""
        deadline = time.monotonic() + self._settings.task_kill_grace + FINISH_SECONDS
        if self._drained is None:
            self._succession.leave()
        while self.look() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    @property
    def _keeps(self) -> bool:
        """Whether what outlives its process is to be gone on with: not where the worker ends, and gives all back."""
        return self._drained is None or self._settings.leave_runs

    def _give_back(self, place: Place) -> None:
        """Have an attempt end for which the worker has no more time, or leave it to the next worker."""
        if self._keeps and self._succession.has(place):
            self._succession.leave()
            if (owner := self._owner(place)) is not None:
                processes.end(*owner)
            # One that was ended may hold its folder for a moment more.
            return
        orders.give(place, orders.Kind.RELEASE, "its worker ends")

    def _bury(self, place: Place, lock: int) -> None:
        """Have somebody go on with what was abandoned, or clean up after it."""
        if not self._keeps or not self._succession.begin(place, lock):
            self._clean(place.folder, partial(self._cleanup.clean_up, place, lock))

    def _clean(self, path: Path, work: Callable[[], None]) -> None:
        self._cleaning[path] = self._cleaner.submit(contextvars.copy_context().run, work)

    def _end_if_hanging(self, place: Place) -> None:
        order = orders.given(place)
        patience = self._settings.task_kill_grace + _HANGING_SECONDS
        if order is None or time.monotonic() < order.given + patience:
            return
        owner = self._owner(place)
        if owner is not None and processes.end(*owner):
            log.error("attempt.hangs", folder=place.folder.name, killed=owner[0])

    def _end_if_frozen(self, place: Place) -> None:
        owner = self._owner(place)
        if owner is None or not processes.frozen(*owner):
            self._frozen.pop(place, None)
            return
        # Counted in looks: when the whole machine was frozen, we were too.
        self._frozen[place] = self._frozen.get(place, 0.0) + _LOOK_SECONDS
        patience = max(beat.lease for beat in self._beats)
        if self._frozen[place] > patience and processes.end(*owner):
            log.error("attempt.frozen", folder=place.folder.name, killed=owner[0])

    def _owner(self, place: Place) -> tuple[int, str] | None:
        """Return the process that has a folder, its id and when it started; None where that is not known."""
        if (successor := self._succession.process(place)) is not None:
            return successor
        record = place.record()
        return None if record is None else (record.pid, record.born)


def run(settings: WorkerSettings, commands: IO[bytes]) -> None:
    """Be the agent of a node until the commands end.

    Args:
        settings: the worker's.
        commands: a pipe, unbuffered.
    """
    structlog.contextvars.bind_contextvars(organization=settings.organization, node=settings.node)
    with connect(settings) as channels, Agent(settings, channels) as agent, _answering(settings, agent.readiness):
        while (command := _next(commands, agent.look)) is not None:
            agent.obey(command)
        agent.finish()


@contextmanager
def _answering(settings: WorkerSettings, readiness: Readiness) -> Iterator[None]:
    with ExitStack() as answering:
        try:
            answering.enter_context(health.answering(settings.health_address, readiness.check))
        except health.AddressError as error:
            # Leases must not run out for it.
            log.error("health.not_answered", reason=str(error))
        yield


def _next(commands: IO[bytes], meanwhile: Callable[[], object]) -> Command | None:
    while not select.select([commands], [], [], _LOOK_SECONDS)[0]:
        meanwhile()
    told = commands.read(1)
    return Command(told) if told else None


def _over(path: Path, work: Future[None]) -> bool:
    if not work.done():
        return False
    error = work.exception()
    if error is not None:
        log.error("folder.not_cleaned_up", folder=path.name, error=f"{type(error).__name__}: {error}")
    return True


def main() -> None:
    """Be the agent of the worker that started this process."""
    # What ends a worker must not end its agent before it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with open(0, "rb", buffering=0) as commands:
        settings = WorkerSettings.model_validate_json(commands.readline())
        logs.configure_process(settings.log_level)
        run(settings, commands)


if __name__ == "__main__":
    main()
