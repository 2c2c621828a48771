"""Starts again what ended on its own: a federation goes on although a function, or the kernel, killed a part of it."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from orchestrator.core.pauses import Pauses
from orchestrator.embedded.processes import Process, ProcessError, Service


class Revival:
    """Looks after services; for the main thread, which starts processes.

    Args:
        services: by name.
        tell: called with a line for people.
        guard: called with each process that was started.
    """

    def __init__(
        self, services: Mapping[str, Service], tell: Callable[[str], None], guard: Callable[[Process], None]
    ) -> None:
        self._services = services
        self._tell = tell
        self._guard = guard
        self._pauses: defaultdict[str, Pauses] = defaultdict(Pauses)
        self._due: dict[str, float] = {}
        self._started: dict[str, float] = {}

    def look(self) -> None:
        """Start what is due; see to it that what has ended since becomes due, after a pause that doubles."""
        for name, service in self._services.items():
            if name in self._due:
                if time.monotonic() >= self._due[name]:
                    self._start(name, service)
                continue
            try:
                service.check()
            except ProcessError as error:
                self._put_off(name, str(error), error.complaint)

    def _start(self, name: str, service: Service) -> None:
        del self._due[name]
        self._started[name] = time.monotonic()
        try:
            service.start()
        except (ProcessError, OSError) as error:
            self._put_off(name, str(error))
            return
        process = service if isinstance(service, Process) else getattr(service, "process", None)
        if process is not None:
            self._guard(process)

    def _put_off(self, name: str, reason: str, complaint: str = "") -> None:
        now = time.monotonic()
        pause = self._pauses[name].after(now - self._started.get(name, now))
        self._due[name] = now + pause
        # The first line; the end of its log follows.
        why = f" ({complaint})" if complaint else ""
        self._tell(f"{reason.partition(';')[0]}{why}; it is started again in {pause:g} s")
