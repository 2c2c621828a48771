"""Acknowledges a poke as soon as its claim has been answered: neither when a process takes it, nor when its task ends.

Celery knows only those two moments. The claim is made in a process of the pool, the message belongs to the worker's own
process; so the one tells the other through a pipe that it inherited. The same way goes what people call the task, for
whoever looks at the worker's events: a poke bears keys alone.
"""

import json
import os
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state
from celery.worker.request import Request

# So few bytes are written as a whole, however many processes write (POSIX: PIPE_BUF).
_MOST_BYTES = 512
_MOST_WORDS = 150


class DescribedRequest(Request):  # type: ignore[misc]
    """A poke that a worker has taken; that it has started is told as soon as it is known what people call it."""

    _words: tuple[str, str] | None = None
    _starts = False

    def send_event(self, type: str, **fields: Any) -> None:
        """Tell those who look what has happened; the start when it is described, or has ended without that."""
        if type == "task-started":
            self._starts = True
            if self._words is not None:
                self._tell_start()
            return
        if self._starts:
            self._tell_start()
        super().send_event(type, **fields)

    def describe(self, task: str, plan: str) -> None:
        """Note what people call the task, and its plan."""
        self._words = (task, plan)
        if self._starts:
            self._tell_start()

    def _tell_start(self) -> None:
        self._starts = False
        # Where there is no plan to name, the keys of the poke stay.
        words = {name: said for name, said in zip(("args", "kwargs"), self._words or ("", ""), strict=True) if said}
        super().send_event("task-started", timestamp=self.time_start, **words)


class Acknowledgement:
    """The pipe of one worker; make it before the pool forks.

    Args:
        app: the worker's Celery app. Its tasks that use this must have `acks_late`, so that Celery itself keeps
            its hands off until they end.
    """

    def __init__(self, app: Celery) -> None:
        reader, self._writer = os.pipe()
        os.set_blocking(reader, False)
        listener = _Listener(reader)

        class Step(bootsteps.StartStopStep):  # type: ignore[misc]
            """Listens to the pipe in the worker's event loop, where messages may be acknowledged."""

            requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

            def register_with_event_loop(self, _: Any, hub: Any) -> None:
                hub.add_reader(reader, listener.read)

        app.steps["worker"].add(Step)

    def answered(self, request_id: str) -> None:
        """Tell the worker that the claim of a poke has been answered; called in a process of the pool.

        Args:
            request_id: the id of the Celery task.
        """
        self._tell({"id": request_id})

    def described(self, request_id: str, task: str, plan: str) -> None:
        """Tell it what people call the task.

        Args:
            request_id: the id of the Celery task.
            task: for people.
            plan: the same, of its compute plan; empty where it is of none.
        """
        self._tell({"id": request_id, "task": task[:_MOST_WORDS], "plan": plan[:_MOST_WORDS]})

    def _tell(self, told: dict[str, str]) -> None:
        line = json.dumps(told, ensure_ascii=False).encode(errors="replace") + b"\n"
        if len(line) > _MOST_BYTES:
            # Words of other alphabets take several bytes a letter, and those with quotes more.
            line = json.dumps({name: words[: _MOST_WORDS // 4] for name, words in told.items()}).encode()
            line = line[: _MOST_BYTES - 1] + b"\n"
        os.write(self._writer, line)


class _Listener:
    """What the worker's own process does with what it is told."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self._rest = b""

    def read(self) -> None:
        """Do what has been told so far."""
        while True:
            try:
                self._rest += os.read(self._reader, _MOST_BYTES)
            except BlockingIOError:
                return
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                _heed(line)


def _heed(line: bytes) -> None:
    try:
        told = json.loads(line)
    except ValueError:
        return
    request = state.requests.get(told["id"])
    if request is None:
        return
    if "task" not in told:
        request.acknowledge()
    elif isinstance(request, DescribedRequest):
        request.describe(told["task"], told["plan"])
