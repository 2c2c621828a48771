"""Shows a compute plan while it runs: a bar in a terminal or a notebook, a line for each event elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from orchestrator import protos as pb
from orchestrator.client.event import Event
from orchestrator.client.plan import Known
from orchestrator.client.printing import printable
from orchestrator.client.progress import Progress
from orchestrator.client.shown import SHORT_KEY
from orchestrator.client.watching import PATIENCE, Watch, new_watch

if TYPE_CHECKING:
    from orchestrator.client.connection import Client

Update: TypeAlias = Callable[[Event], None]
"""Is told each event, after the watch was."""

_PAUSE_SECONDS = 0.1


def show(client: "Client", plan: Known, console: Console | None = None, patience: float = PATIENCE) -> Progress:
    """Show a compute plan until it has ended, and return how it did; the arguments and errors are those of `watch`.

    Args:
        client: who watches.
        plan: the plan, or its key.
        console: where; the standard output by default.
        patience: seconds to try when the connection is lost.
    """
    console = console or Console()
    watch = new_watch(plan, patience)
    with bar(watch, console) or nullcontext(_line_by_line(console)) as update:
        for event in client.follow(watch):
            update(event)
    return watch.progress


def bar(watch: Watch, console: Console) -> AbstractContextManager[Update] | None:
    """Return a bar that lives as long as the block, None where none can be shown.

    Args:
        watch: of the plan.
        console: where; a notebook has one place only.
    """
    if console.is_jupyter:
        return _in_notebook(watch)
    return _in_terminal(watch, console) if console.is_terminal else None


@contextmanager
def _in_terminal(watch: Watch, console: Console) -> Iterator[Update]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[counts]}"),
    )
    with Bars(*columns, TimeElapsedColumn(), console=console) as bars:
        shown = bars.add_task(watch.key[:SHORT_KEY], total=None, counts="")

        def update(event: Event) -> None:
            progress = watch.progress
            counts = ", ".join(f"{word} {number}" for word, number in progress.counts.items() if number)
            name = printable(progress.plan.name if progress.plan else watch.key)
            bars.update(shown, description=name, total=len(progress.tasks) or None)
            bars.update(shown, completed=progress.counts["Done"], counts=counts)
            # The bar counts what goes well; lines are for what one wants to read.
            if isinstance(event.asset, pb.Performance | pb.FailureReport) and (line := describe(event)):
                console.print(line, soft_wrap=True)

        yield update


@contextmanager
def _in_notebook(watch: Watch) -> Iterator[Update]:
    # Not by rich, which needs ipywidgets for it, and leaves a widget, of which a stored notebook shows nothing.
    from IPython.display import display

    handle = display(watch.progress, display_id=True)  # type: ignore[no-untyped-call]
    shown = time.monotonic()

    def update(_: Event) -> None:
        nonlocal shown
        if time.monotonic() - shown > _PAUSE_SECONDS:
            handle.update(watch.progress)
            shown = time.monotonic()

    try:
        yield update
    finally:
        handle.update(watch.progress)


def _line_by_line(console: Console) -> Update:
    def update(event: Event) -> None:
        if line := describe(event):
            console.print(line, soft_wrap=True)

    return update


def describe(event: Event) -> Text | None:
    """Return an event as a line for people; None where another event says the same."""
    return None if isinstance(event.asset, pb.ComputeTaskOutputAsset) else Text(str(event))
