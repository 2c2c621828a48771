"""The module, as its agent knows it: in which phase it is, what it has been told, whether it takes stages."""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from orchestrator import protos as pb
from orchestrator_modules import frames, program
from orchestrator_modules.agent.held import Attempts, Held
from orchestrator_modules.agent.script import Script

log = structlog.get_logger()

# Longer than the script's process takes to end itself.
_KILL_SECONDS = program.END_SECONDS + 2
_GRACE_SECONDS = 10.0
_DRAIN_SECONDS = 60.0
# Nothing of it counts any more, but most callbacks end when they are told to, and need no new process.
_LEAST_GRACE_SECONDS = 2.0


class Module:
    """Good in any thread.

    Args:
        hello: what its script has said of itself.
        script: its process.

    Attributes:
        attempts: those that it has.
        time_out: says that an attempt ran too long, and has not stopped.
        release: gives an attempt back to the orchestrator.
        quit: has no poke taken any more, and returns when that is so.
        changed: called when it may take stages, or may not any more, and when there is something to report.
        grace: how long a callback that is beyond its limit may take to stop, in seconds.
        drain: how long what it runs may take after TERMINATE_NODE, in seconds.
        leaving: set when its process ends, in whatever way.
    """

    def __init__(self, hello: frames.Hello, script: Script) -> None:
        self.hello = hello
        self.script = script
        self.attempts = Attempts(
            Held(held.channel, pb.Attempt.FromString(held.attempt)) for held in (hello.held or {}).values()
        )
        self.time_out: Callable[[Held], None] = lambda _: None
        self.release: Callable[[Held, str], None] = lambda *_: None
        self.quit: Callable[[], None] = lambda: None
        self.changed: Callable[[], None] = lambda: None
        self.grace = _GRACE_SECONDS
        self.drain = _DRAIN_SECONDS
        self.leaving = threading.Event()
        self._spinning = hello.spinning
        self._accepting = False
        self._lock = threading.Lock()
        self._given: set[str] = set()
        self._stopping: list[str] = []
        self._terminating = self._restarting = ""
        self._drain_by: float | None = None
        self._kill_by: float | None = None
        self._outcomes: dict[str, str] = {}
        self.restarts = False

    @property
    def takes(self) -> bool:
        """Whether it takes stages."""
        busy = self._stopping or self._drain_by is not None or self.restarts or self.leaving.is_set()
        return self._spinning and self._accepting and not busy

    @property
    def phase(self) -> "pb.ModulePhase.ValueType":
        """In which phase it is, as long as its process lives."""
        if self.restarts:
            return pb.PHASE_INITIALIZING
        if self.leaving.is_set() or self._drain_by is not None:
            return pb.PHASE_TERMINATING
        return pb.PHASE_SPINNING if self._spinning else pb.PHASE_INITIALIZING

    @property
    def restarted_for(self) -> str:
        """The command because of which its process starts again; empty without."""
        return self._restarting

    @property
    def reason(self) -> str:
        """Why it is in that phase, for people; empty where that says all."""
        return "it is started again" if self.restarts else ""

    def finish(self, frame: frames.Outcome | frames.Stopped) -> None:
        """Note that a callback has ended."""
        held = self.attempts.get(frame.job)
        if held is not None:
            held.outcome = frame if isinstance(frame, frames.Outcome) else None
            held.over.set()

    def spin(self) -> None:
        """Take stages from now on."""
        self._spinning = True
        self.changed()

    def accept(self, accepting: bool) -> None:
        """Note whether the orchestrator gives it stages."""
        if self._accepting != accepting:
            self._accepting = accepting
            self.changed()

    def command(self, given: Sequence[pb.ModuleCommand]) -> None:
        """Do what it is told, once each."""
        for each in given:
            if each.command_id in self._given:
                continue
            self._given.add(each.command_id)
            log.info("module.commanded", command=pb.NodeCommand.Name(each.command))
            match each.command:
                case pb.STOP_NODE:
                    self._stopping.append(each.command_id)
                case pb.RESET_NODE if each.command_id != self.hello.command:
                    self.restart("the module is reset", each.command_id)
                case pb.TERMINATE_NODE:
                    self._terminating = each.command_id
                    self._drain_by = time.monotonic() + self.drain
                case pb.START_NODE:
                    self._outcomes[each.command_id] = ""
            self.changed()

    def stop(self, job: str, grace: float, reason: str) -> None:
        """Have an attempt end.

        Args:
            job: which.
            grace: the seconds that its callback may take.
            reason: for people.
        """
        held = self.attempts.get(job)
        if held is None or held.told:
            return
        log.info("stage.stopped", job=job, reason=reason)
        held.told = held.refused = True
        held.stop_by = time.monotonic() + max(grace, _LEAST_GRACE_SECONDS)
        self.script.tell(frames.Stop(job))

    def restart(self, reason: str, command: str = "") -> None:
        """Have the process of the script start again, and give back what it does.

        Args:
            reason: for people.
            command: that wants it; empty without.
        """
        if self.restarts or self.leaving.is_set():
            return
        self._restarting, self.restarts = command, True
        self.changed()
        self._give_back(reason)
        self._kill_by = time.monotonic() + _KILL_SECONDS
        self.script.tell(frames.End(again=True, command=command))

    def leave(self) -> None:
        """Give back what runs: the process of the script ends."""
        with self._lock:
            if self.leaving.is_set():
                return
            self.leaving.set()
        self.changed()
        self._give_back("its module ends")

    def look(self) -> None:
        """Do what is due."""
        if self._stopping and not self.attempts.all():
            for command in self._stopping:
                self._outcomes[command] = ""
            self._stopping.clear()
        if self.hello.command and self._spinning and self.hello.command in self._given:
            self._outcomes.setdefault(self.hello.command, "")
        if self._drain_by is not None and self._kill_by is None and not self.leaving.is_set():
            late = time.monotonic() > self._drain_by
            if late or not self.attempts.all():
                self._give_back("its module is terminated")
                self._kill_by = time.monotonic() + _KILL_SECONDS
                self.script.tell(frames.End(again=False))
        if self._kill_by is not None and time.monotonic() > self._kill_by:
            log.warning("script.killed", reason="it has not ended when it was told to")
            self.script.kill()
        for held in self.attempts.overdue():
            log.warning("stage.overdue", job=held.job, limit=held.limit)
            held.timed_out = True
            held.stop_by = time.monotonic() + self.grace
            self.script.tell(frames.Stop(held.job))
        for held in self.attempts.late():
            log.warning("stage.hangs", job=held.job)
            held.stop_by = None
            if held.timed_out and not held.refused:
                held.refused = held.told = True
                self.time_out(held)
            self.restart("a callback of its module hangs")

    def ended(self) -> None:
        """Note that the process of the script is gone."""
        if self._terminating:
            self._outcomes[self._terminating] = ""

    def outcomes(self) -> dict[str, str]:
        """Return what became of commands and is not reported: id -> error, empty where one is applied."""
        return dict(self._outcomes)

    def reported(self, outcomes: dict[str, str]) -> None:
        """Note that the orchestrator knows of these; a command whose outcome it knows is not given again."""
        for command in outcomes:
            self._outcomes.pop(command, None)
            if command == self.hello.command:
                self.hello = frames.Hello(**{**vars(self.hello), "command": ""})

    def _give_back(self, reason: str) -> None:
        for held in self.let_go():
            self.release(held, reason)

    def let_go(self) -> Sequence[Held]:
        """Take nothing any more, and see to no attempt; return those whose callbacks were at work."""
        held = [each for each in self.attempts.all() if not each.refused]
        for each in held:
            each.refused = True
            self.script.tell(frames.Stop(each.job))
            each.over.set()
        # Before they are given back: the poke that follows is another replica's.
        self.quit()
        return held
