"""The run of a callback in a thread of its own, and how it is stopped."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable

from orchestrator_modules import children, failures
from orchestrator_modules.enums import Status
from orchestrator_modules.frames import Outcome, Task
from orchestrator_modules.identifier import TaskId
from orchestrator_modules.kinds import Kind
from orchestrator_modules.types import TYPES, NodeStatus

_PRESS_SECONDS = 1.0


class Stopped(SystemExit):
    """Is raised in the thread of a callback that must end; as `except Exception` does not catch it."""


class Job:
    """One call of a callback.

    Args:
        kind: of the module.
        task: what is to be done.
        callback: called with the inputs, a status and the output.
        over: called in the thread when it ends.

    Attributes:
        task: as given.
        outcome: what came of it; None while it runs, and where it was stopped.
    """

    def __init__(self, kind: Kind, task: Task, callback: Callable[..., object], over: Callable[[], None]) -> None:
        self.task = task
        self.outcome: Outcome | None = None
        self._kind = kind
        self._callback = callback
        self._over = over
        self._stopping = threading.Event()
        self._pressed_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"task-{task.job}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it must end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Have it end: its status says so from now on; `press` does the rest."""
        self._stopping.set()

    def press(self) -> None:
        """Raise `Stopped` in its thread and end the processes that it has started: once a second, if need be."""
        now = time.monotonic()
        if not self.alive or (self._pressed_at is not None and now - self._pressed_at < _PRESS_SECONDS):
            return
        first, self._pressed_at = self._pressed_at is None, now
        if self._thread.ident is None or self._thread.native_id is None:
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(Stopped))
        # It may wait for them, where no exception reaches it.
        started = children.of_thread(self._thread.native_id)
        children.end(started, signal.SIGTERM if first else signal.SIGKILL)

    def _run(self) -> None:
        try:
            self.outcome = self._called()
        except Stopped:
            # Whatever it was about to say, nobody wants it.
            self.outcome = None
        finally:
            self._over()

    def _called(self) -> Outcome:
        inputs = [TYPES[name].of(members) for name, members in self.task.inputs]
        status = NodeStatus.of(self.task.status)
        status.watch(self._stopping)
        output = TYPES[self._kind.output]()
        output.task_id(TaskId(status.task_id()))  # type: ignore[attr-defined]
        try:
            self._callback(*inputs, status, output)
        except Stopped:
            raise
        except BaseException as error:  # not even SystemExit ends the node
            return Outcome(self.task.job, None, "EXCEPTION", failures.told(error))
        if status.node_status() == Status.NODE_ERROR:
            return Outcome(self.task.job, output.members(), "NODE_ERROR", status.error_description())
        return Outcome(self.task.job, output.members())
