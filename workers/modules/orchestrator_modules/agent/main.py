"""The program that an agent is: `python -m orchestrator_modules.agent.main FD`, where FD is a socket to the script.

A byte on its standard input says that the script ends.
"""

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

import structlog
from pydantic import ValidationError

from orchestrator import log as logs
from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.settings_errors import explain
from orchestrator.telemetry import names, spans
from orchestrator.telemetry.switch import SwitchError
from orchestrator_modules import frames
from orchestrator_modules.agent.consumption import Consumption
from orchestrator_modules.agent.module import Module
from orchestrator_modules.agent.reports import Reports
from orchestrator_modules.agent.script import Script
from orchestrator_modules.agent.settings import NowhereError, Place, Settings
from orchestrator_modules.agent.watch import Watch
from orchestrator_modules.agent.work import Work
from orchestrator_modules.kinds import KIND_OF

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_END_SECONDS = 2.0
_MOVED_SECONDS = 3.0
_WRONG_SECONDS = 10.0


class Agent:
    """All parts of an agent.

    Args:
        settings: its own.
        hello: what its script has said of itself.
        script: the script's process.
    """

    def __init__(self, settings: Settings, hello: frames.Hello, script: Script) -> None:
        self._settings = settings
        self._hello = hello
        self._script = script
        self._module = Module(hello, script)
        self._work: Work | None = None
        self._reports: Reports | None = None
        self._consumption: Consumption | None = None

    def run(self) -> None:
        """Be the agent, until the process of the script ends."""
        threading.Thread(target=self._listen, name="script", daemon=True).start()
        place = self._find()
        if place is None:
            return
        self._trace(place)
        threading.Thread(target=self._follow, args=(place,), name="place", daemon=True).start()
        client = Client(
            place.address,
            place.organization,
            place.channel,
            place.certificates,
            proxy_from_environment=self._settings.proxy_from_environment,
        )
        reports = Reports(client, self._module)
        work = Work(client, self._module, reports)
        self._module.release, self._module.time_out = work.release, work.time_out
        self._reports, self._work = reports, work
        for held in self._module.attempts.all():
            threading.Thread(target=work.adopt, args=(held,), name="adopted", daemon=True).start()
        reports.start()
        while not reports.registered.wait(_LOOK_SECONDS):
            if self._module.leaving.is_set():
                return
        consumption = Consumption(
            place.broker_url,
            reports.queue,
            self._hello.name,
            self._hello.slots,
            self._settings.log_level,
            lambda: self._module.takes,
            work.run,
            reports.beat_now,
        )
        self._consumption = consumption
        self._module.changed = self._changed
        self._module.quit = lambda: consumption.end(_END_SECONDS)
        Watch(consumption.heard, lambda: self._deaf(consumption)).start()
        consumption.run()

    def _deaf(self, consumption: Consumption) -> None:
        """End, so that the script starts another, which sees to what runs."""
        if any(held.over.is_set() for held in self._module.attempts.all()):
            # What is being reported is known to this one alone.
            return
        log.error(
            "agent.deaf", reason="it takes nothing though it could", then="another is started", **consumption.facts()
        )
        os._exit(os.EX_SOFTWARE)

    def _follow(self, place: Place) -> None:
        """End once the orchestrator is elsewhere, so that the script starts another agent, which finds it there."""
        while not self._module.leaving.wait(_MOVED_SECONDS):
            with suppress(NowhereError):
                now = self._place()
                # What is being reported is known to this one alone.
                if now != place and not any(held.over.is_set() for held in self._module.attempts.all()):
                    log.warning("orchestrator.moved", address=now.address, then="another agent is started")
                    os._exit(os.EX_OK)

    def _place(self) -> Place:
        return Place(self._settings, KIND_OF[self._hello.kind].queue(self._hello.deployment))

    def _find(self) -> Place | None:
        """Wait until it is known where the orchestrator is."""
        complaint = ""
        while not self._module.leaving.is_set():
            try:
                found = self._place()
            except NowhereError as error:
                if str(error) != complaint:
                    log.warning("orchestrator.not_found", reason=str(error), meanwhile="this module waits")
                complaint = str(error)
            else:
                if complaint:
                    log.warning("orchestrator.found", address=found.address)
                return found
            self._module.leaving.wait(_LOOK_SECONDS)
        return None

    def _trace(self, place: Place) -> None:
        try:
            spans.begin("module", {names.ORGANIZATION: place.organization, names.SERVICE_INSTANCE: self._hello.name})
        except SwitchError as error:
            # Its script was started with somebody's variables, and does its work without traces.
            log.warning("traces.not_made", reason=str(error))

    def _changed(self) -> None:
        if self._consumption is not None:
            self._consumption.look()
        if self._reports is not None:
            self._reports.beat_now()

    def _listen(self) -> None:
        for frame in self._script.said():
            match frame:
                case frames.Spin():
                    self._module.spin()
                case frames.Outcome() | frames.Stopped():
                    self._module.finish(frame)
                case frames.Response() if self._reports is not None:
                    self._reports.answer(frame)
                case frames.Leave():
                    threading.Thread(target=self._leave, name="leave", daemon=True).start()
        self._gone()

    def _leave(self) -> None:
        """Give back what runs, and say that all is."""
        if self._module.leaving.is_set():
            return
        self._module.leave()
        if self._reports is not None and not self._module.restarts:
            # Not when it is gone: where it is the first of its container, this agent goes with it.
            self._module.ended()
            self._reports.last(pb.PHASE_ENDED)
        self._script.tell(frames.Left())

    def _gone(self) -> None:
        """End, since the process of the script has ended, or runs another program."""
        module, reports = self._module, self._reports
        module.leaving.set()
        lost = module.let_go()
        if self._work is not None:
            for held in lost:
                self._work.lost(held, f"the process of module {self._hello.name} has ended")
        module.ended()
        if reports is not None:
            reports.last(pb.PHASE_INITIALIZING if module.restarts else pb.PHASE_ENDED)
        if module.restarts:
            self._script.start_again(self._hello, module.restarted_for)
        spans.end()
        os._exit(os.EX_OK)


def main() -> None:
    """Be the agent of the script that started this process."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    hello = connection.recv()
    script = Script(connection, sys.stdin.fileno())
    Agent(_settings(f"{hello.kind}/{hello.name}", script), hello, script).run()
    # Whatever else its threads do, they must not keep it once its script is gone.
    threading.Event().wait()


def _settings(module: str, script: Script) -> Settings:
    """Return what this agent is told; where that is wrong, say so in one line, and end a while after it.

    Its script starts another then: a file that is missing may be there by now.
    """
    try:
        settings = Settings()  # type: ignore[call-arg]  # of the environment
    except ValidationError as error:
        logs.configure_process("ERROR", module=module)
        log.error("settings.wrong", reason=explain(error, Settings), meanwhile="this module takes nothing")
        if any(select.select([sys.stdin], [], [], _WRONG_SECONDS)):
            # Nothing was taken, so nothing is to be given back. Unheard, the script starts another for that.
            script.tell(frames.Left())
            for _ in script.said():
                pass
        sys.exit(os.EX_CONFIG)
    logs.configure_process(settings.log_level, module=module)
    return settings


if __name__ == "__main__":
    main()
