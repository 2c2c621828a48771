"""Shows a compute plan's progress: bars that move in a terminal, a line for each task elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.progress import Tracker
from orchestrator.client import Event

_REFRESHES_PER_SECOND = 8
_BAR_WIDTH = 24
_ALWAYS = ("Waiting", "To do", "Doing", "Done")
_STYLES = {"Done": "green", "Doing": "cyan", "To do": "yellow", "Failed": "red", "Cancelled": "magenta"}


class Display(Protocol):
    """What is shown meanwhile."""

    def take(self, event: Event) -> None:
        """Show what an event changes."""


@contextmanager
def show(console: Console, tracker: Tracker) -> Iterator[Display]:
    """Show a plan's progress as long as the block lasts.

    Args:
        console: where.
        tracker: takes the events that the display is given.
    """
    if not console.is_terminal:
        yield _Lines(console, tracker)
        return
    bars = _Bars(tracker)
    with Live(
        console=console, get_renderable=bars.render, refresh_per_second=_REFRESHES_PER_SECOND, redirect_stderr=False
    ):
        yield bars


class _Lines:
    """A line for each task that ended."""

    def __init__(self, console: Console, tracker: Tracker) -> None:
        self._console = console
        self._tracker = tracker

    def take(self, event: Event) -> None:
        line = self._tracker.take(event)
        if line is not None:
            self._console.print(f"{elapsed(self._tracker):6.1f} s {line}", highlight=False, soft_wrap=True)


class _Bars:
    """A bar for each state and each organization."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        # The view is made whole with each event, as Live draws it from a thread of its own.
        self._states: list[tuple[str, int]] = []
        self._organizations: list[tuple[str, int, int, list[tuple[str, datetime]]]] = []
        self._total = 0

    def take(self, event: Event) -> None:
        tracker = self._tracker
        tracker.take(event)
        tasks = tracker.progress.tasks
        self._total = len(tasks)
        self._states = [(word, n) for word, n in tracker.progress.counts.items() if n or word in _ALWAYS]
        self._organizations = [
            (
                name,
                share.ended,
                share.total,
                [(tracker.label(tasks[key]), since) for key, since in share.doing.items()],
            )
            for name, share in tracker.shares.items()
        ]

    def render(self) -> RenderableType:
        states = Table.grid(padding=(0, 1))
        states.add_column(width=16)
        for word, count in self._states:
            style = _STYLES.get(word, "blue")
            states.add_row(Text(word, style), _bar(count, self._total, style), f"{count:>3} of {self._total}")
        organizations = Table.grid(padding=(0, 1))
        organizations.add_column(width=16, no_wrap=True)
        now = datetime.now(UTC)
        for name, ended, total, doing in self._organizations:
            running = ", ".join(f"{label} ({(now - since).total_seconds():.1f} s)" for label, since in doing)
            organizations.add_row(name, _bar(ended, total, "green"), f"{ended:>3} of {total:<3}", Text(running, "cyan"))
        begun = self._tracker.begun
        seconds = (now - begun).total_seconds() if begun else 0.0
        return Group("", states, "", organizations, "", Text(f"{seconds:.1f} s", "dim"))


def elapsed(tracker: Tracker) -> float:
    """Return the seconds from the plan's registration to the last event."""
    if tracker.begun is None or tracker.last is None:
        return 0.0
    return (tracker.last - tracker.begun).total_seconds()


def _bar(count: int, total: int, style: str) -> ProgressBar:
    return ProgressBar(
        total=max(total, 1), completed=count, width=_BAR_WIDTH, complete_style=style, finished_style=style
    )
