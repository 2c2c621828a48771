"""What a module's process does for its agent, in a thread of its own: it begins callbacks, stops them, and ends."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from orchestrator_modules import program
from orchestrator_modules.configuration import Answering
from orchestrator_modules.frames import End, Hello, Leave, Left, Request, Spin, Stop, Stopped, Task
from orchestrator_modules.job import Job
from orchestrator_modules.kinds import Kind
from orchestrator_modules.link import Link
from orchestrator_modules.wake import Wake

log = logging.getLogger("orchestrator_modules")

_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_LEAVE_SECONDS = 3.0


class Conversation:
    """Keeps an agent, and does what it says, until `end` and what follows.

    Args:
        kind: of the module.
        hello: what each agent is told.
        on_task: the callback for tasks.
        on_request: the callback for configuration requests.
    """

    def __init__(
        self, kind: Kind, hello: Hello, on_task: Callable[..., object], on_request: Callable[[Any, Any], object]
    ) -> None:
        self._kind = kind
        self._hello = hello
        self._on_task = on_task
        self._wake = Wake()
        self._answering = Answering(kind.number, on_request, self._wake.up)
        self._jobs: dict[str, Job] = {}
        self._link: Link | None = None
        self._spinning = self._ending = self._left = False
        self._leave_by: float | None = None
        self.over = threading.Event()
        """Set when nothing is done for the agent any more."""
        threading.Thread(target=self._run, name=f"module-{kind.name}", daemon=True).start()

    def spin(self) -> None:
        """Take tasks from now on."""
        self._spinning = True
        self._wake.up()

    def end(self) -> None:
        """Take no more, and give back what runs; neither waits nor locks: it is for handlers of signals."""
        self._ending = True
        if self._link is not None:
            self._link.leave()
        self._wake.up()

    def _run(self) -> None:
        try:
            while not self._done:
                try:
                    greeting = self._greeting()
                    self._link = link = Link(greeting)
                except OSError as error:
                    self._pause(f"its agent cannot be started: {error}")
                    continue
                try:
                    self._serve(link, greeting.spinning)
                except (EOFError, OSError):
                    link.close()
                    if not self._ending:
                        self._pause("its agent has ended")
                except Exception:
                    log.exception("module %s %s", self._kind.name, self._hello.name)
                    link.close()
                    self._pause("its agent was not understood")
                finally:
                    self._link = None
                    link.abandon()
        finally:
            self.over.set()

    @property
    def _done(self) -> bool:
        """Whether this process has nothing to do with an agent any more."""
        if self._leave_by is None:
            # Where there was no agent, nothing is to be given back.
            return self._ending and self._link is None and not self._jobs
        quiet = self._left and not any(job.alive for job in self._jobs.values())
        return quiet or time.monotonic() > self._leave_by

    def _greeting(self) -> Hello:
        held = {name: job.task.held for name, job in self._jobs.items()}
        given = vars(self._hello)
        return Hello(**{**given, "spinning": self._spinning, "held": held})

    def _pause(self, reason: str) -> None:
        log.warning("module %s %s: %s; it is started again", self._kind.name, self._hello.name, reason)
        deadline = time.monotonic() + _AGAIN_SECONDS
        while not self._ending and time.monotonic() < deadline:
            wait([self._wake.fileno()], deadline - time.monotonic())
            self._wake.clear()

    def _serve(self, link: Link, told: bool) -> None:
        while True:
            if self._spinning and not told:
                link.send(Spin())
                told = True
            if self._ending and self._leave_by is None:
                self._leave(link)
            self._reap(link)
            for answer in self._answering.answers():
                link.send(answer)
            if self._leave_by is not None and self._done:
                return
            pressing = self._leave_by is not None or any(job.stopping for job in self._jobs.values())
            ready = wait([link.connection, self._wake.fileno()], _LOOK_SECONDS if pressing else None)
            if self._wake.fileno() in ready:
                self._wake.clear()
            if link.connection in ready:
                self._heed(link.connection.recv())

    def _leave(self, link: Link) -> None:
        self._leave_by = time.monotonic() + _LEAVE_SECONDS
        for job in self._jobs.values():
            job.stop()
        link.send(Leave())
        program.end_if_over(_LEAVE_SECONDS + 1)

    def _reap(self, link: Link) -> None:
        for name, job in tuple(self._jobs.items()):
            if job.alive and job.outcome is None:
                if job.stopping:
                    job.press()
                continue
            link.send(Stopped(name) if job.stopping or job.outcome is None else job.outcome)
            # Not before: the next agent is told what this one was not.
            del self._jobs[name]

    def _heed(self, frame: object) -> None:
        match frame:
            case Task() if not self._ending:
                job = self._jobs[frame.job] = Job(self._kind, frame, self._on_task, self._wake.up)
                job.start()
            case Stop(name) if name in self._jobs:
                self._jobs[name].stop()
            case Request():
                self._answering.ask(frame)
            case End(again, command):
                with suppress(OSError):
                    program.end(again, command)
            case Left():
                self._left = True
