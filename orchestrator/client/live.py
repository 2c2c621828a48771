"""What `submit` shows: how much of a plan was sent and, in a notebook, then how far it is, until it has ended."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from orchestrator.client.event import Event
from orchestrator.client.printing import printable
from orchestrator.client.progress import Progress
from orchestrator.client.shown import Shown, text

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.client.plan import Plan
    from orchestrator.client.watching import Watch

Told: TypeAlias = Callable[[int], None]
"""Is told how many tasks were sent so far."""

_PAUSE_SECONDS = 0.1
# What ends the following of a plan that nobody waits for: its connection was lost for long, or closed.
_OVER = (grpc.RpcError, ValueError, TimeoutError)


class Panel(Shown):
    """A plan that is being sent, and then runs.

    Args:
        name: the plan's.
        tasks: how many are to be sent.

    Attributes:
        sent: how many were.
        progress: the plan's, once it is registered.
        followed: whether what happens to it is still shown.
    """

    def __init__(self, name: str, tasks: int) -> None:
        self._name = name
        self._tasks = tasks
        self.sent = 0
        self.progress: Progress | None = None
        self.followed = True

    @property
    def _known(self) -> Progress | None:
        """The progress, once something of the plan was heard."""
        return self.progress if self.progress and self.progress.plan else None

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        if self._known is None:
            return {"name": self._name, "tasks": self._told}
        return self._known.facts() if self.followed else {**self._known.facts(), "shown": "not any more"}

    def __repr__(self) -> str:
        return repr(self._known) if self._known and self.followed else super().__repr__()

    def _repr_html_(self) -> str:
        if self._known is None:
            bar = f'<progress max="{self._tasks or 1}" value="{self.sent}"></progress>'
            return f"<div><b>{text(self._name)}</b> {bar} {self._told}</div>"
        shown = self._known._repr_html_()
        return shown if self.followed else f"{shown}<div>It is not followed any more: the connection has ended</div>"

    @property
    def _told(self) -> str:
        return (
            f"{self.sent} of {_count(self._tasks)} sent"
            if self.progress is None
            else f"{_count(self._tasks)} registered"
        )


class Live:
    """A panel in the output of the cell of a notebook that runs now; it changes there, also when that cell is over.

    Args:
        panel: what it shows.
    """

    def __init__(self, panel: Panel) -> None:
        from IPython.display import display

        self._panel = panel
        self._cell = _cell()
        self._settled = False
        self._shown = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._changing = threading.Lock()
        self._handle: Any = display(panel, display_id=True)  # type: ignore[no-untyped-call]

    @property
    def is_here(self) -> bool:
        """Whether it is shown by the cell that runs now."""
        return self._cell == _cell()

    def send(self, number: int) -> None:
        """Show how many tasks were sent."""
        self._panel.sent = number
        self._show()

    def follow(self, watch: "Watch", events: Iterator[Event]) -> None:
        """Show what happens to the plan, in a thread, as long as it goes on and somebody can be asked."""
        self._begin(watch)

        def run() -> None:
            try:
                for _ in events:
                    self._show()
            except _OVER:
                self._panel.followed = False
            self._show(at_once=True)

        threading.Thread(target=run, name="live", daemon=True).start()

    def follow_by_asyncio(self, watch: "Watch", events: AsyncIterator[Event]) -> None:
        """Show what happens to the plan, in a task of the event loop."""
        self._begin(watch)

        async def run() -> None:
            try:
                async for _ in events:
                    self._show()
            except _OVER:
                self._panel.followed = False
            self._show(at_once=True)

        self._task = asyncio.create_task(run())

    def settle(self, progress: Progress) -> None:
        """Show the end of the plan, which another watch has seen; nothing changes any more."""
        with self._changing:
            self._settled = True
            self._panel.progress, self._panel.followed = progress, True
            self._handle.update(self._panel)

    def _begin(self, watch: "Watch") -> None:
        self._panel.progress = watch.progress
        self._show(at_once=True)

    def _show(self, *, at_once: bool = False) -> None:
        with self._changing:
            if not self._settled and (at_once or time.monotonic() > self._shown + _PAUSE_SECONDS):
                self._handle.update(self._panel)
                self._shown = time.monotonic()


@contextmanager
def sending(plan: "Plan[Any]", bar: bool) -> Iterator[Told]:
    """Show how much of a plan was sent, as long as the block lives; in a notebook the plan then gets its `live`.

    Args:
        plan: which.
        bar: whether to show it, where it can be shown.
    """
    new = len(plan.tasks) - plan.submitted
    if not bar or (plan.registered and not new):
        yield _nobody
        return
    # Takes a tenth of a second to import, and most programs show nothing.
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        live = Live(Panel(plan.message.name, new))
        yield live.send
        plan.live = live
    elif console.is_terminal:
        with _in_terminal(plan, new, console) as told:
            yield told
    else:
        yield _nobody


@contextmanager
def _in_terminal(plan: "Plan[Any]", new: int, console: "Console") -> Iterator[Told]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[said]}"),
    )
    with Bars(*columns, TimeElapsedColumn(), console=console) as bars:
        shown = bars.add_task(printable(plan.message.name), total=new, said=f"0 of {_count(new)} sent")
        yield lambda number: bars.update(shown, completed=number, said=f"{number} of {_count(new)} sent")
        bars.update(shown, total=new or 1, completed=new or 1, said=f"{_count(new)} registered")


def is_shown(plan: object) -> bool:
    """Say whether the cell of a notebook that runs now shows a plan already."""
    shown: Live | None = getattr(plan, "live", None)
    return shown is not None and shown.is_here


def settle(plan: object, progress: Progress) -> None:
    """Have what `submit` shows of a plan say how it has ended, also where it has not heard of that yet."""
    shown: Live | None = getattr(plan, "live", None)
    if shown is not None:
        shown.settle(progress)


def _count(tasks: int) -> str:
    return f"{tasks} task" if tasks == 1 else f"{tasks} tasks"


def _nobody(_: int) -> None:
    """Show nothing."""


def _cell() -> int:
    """Return the number of the cell that runs now."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    return int(shell.execution_count) if shell is not None else 0
