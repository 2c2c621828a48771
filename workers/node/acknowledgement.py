"""Acknowledges a poke as soon as its claim has been answered: neither when a process takes it, nor when its task ends.

Celery knows only those two moments. The claim is made in a process of the pool, the message belongs to the worker's own
process; so the one tells the other through a pipe that it inherited. The same way goes what people call the task, for
whoever looks at the worker's events: a poke bears keys alone.
"""

import json
import os
import time
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state

# So few bytes are written as a whole, however many processes write (POSIX: PIPE_BUF).
_MOST_BYTES = 512
_MOST_WORDS = 300


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

    def described(self, request_id: str, words: str) -> None:
        """Tell it what people call the task.

        Args:
            request_id: the id of the Celery task.
            words: for people.
        """
        self._tell({"id": request_id, "words": words[:_MOST_WORDS]})

    def _tell(self, told: dict[str, str]) -> None:
        line = json.dumps(told, ensure_ascii=False).encode(errors="replace") + b"\n"
        if len(line) > _MOST_BYTES:
            # Words of other alphabets take several bytes a letter.
            line = json.dumps({**told, "words": told.get("words", "")[: _MOST_WORDS // 4]}).encode()[: _MOST_BYTES - 1]
            line += b"\n"
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
    if "words" in told:
        # To what was received belong the arguments, whenever that is told.
        received = request.time_start or time.time()
        request.send_event("task-received", args=told["words"], kwargs="", timestamp=received)
    else:
        request.acknowledge()
