"""Tables for people."""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.client.printing import printable

if TYPE_CHECKING:
    from rich.console import OverflowMethod, RenderableType

_COLORS = {"Done": "green", "Failed": "red", "Cancelled": "yellow", "Doing": "cyan", "To do": "blue"}
_ENDLESS = 10_000
_SHORT_KEY = 8
_KEY = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def console(quiet: bool = False) -> Console:
    """Return the standard output; where it is no terminal, lines are as long as they need to be.

    Args:
        quiet: whether nothing is shown.
    """
    return Console(width=None if narrow() else _ENDLESS, highlight=False, quiet=quiet)


def table(
    *columns: str,
    rows: Iterable[Iterable[str]],
    title: str = "",
    whole: Collection[str] = (),
    folded: Collection[str] = (),
) -> Table:
    """Return a table, a line for each row; the words for states are coloured.

    Args:
        columns: their heads.
        rows: the cells, as text of anyone.
        title: above it.
        whole: heads of columns that stay as wide as they are where there is not enough room, as those of keys; the
            others are cut.
        folded: heads of columns that go on in the next line instead, as those of reasons.
    """
    built = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in columns:
        built.add_column(head, no_wrap=head in whole)
    for row in rows:
        built.add_row(*(_cell(cell, head in folded) for head, cell in zip(columns, row, strict=True)))
    return built


def show(*columns: str, rows: Sequence[Iterable[str]], none: str, whole: Collection[str] = ()) -> None:
    """Print a table on the standard output, or a sentence where it has no rows.

    Args:
        columns: as of `table`.
        rows: likewise.
        none: what to say of none, and how to come to some.
        whole: as of `table`.
    """
    output = console()
    if rows:
        output.print(table(*columns, rows=rows, whole=whole))
    else:
        output.print(none, soft_wrap=True, markup=False)


def fitting(output: Console, *forms: Table) -> Table:
    """Return the first form of a table for which there is room; the last, where there is for none."""
    endless = output.options.update_width(_ENDLESS)
    return next((form for form in forms if output.measure(form, options=endless).maximum <= output.width), forms[-1])


def narrow() -> bool:
    """Say whether the standard output is a terminal, in which a line ends somewhere."""
    return sys.stdout.isatty()


def short(keys: Iterable[str]) -> Callable[[str], str]:
    """Return what the key of a row is shown as: in a terminal its beginning, else all of it.

    Every command takes the beginnings of keys.

    Args:
        keys: of all rows; no two are shown as the same.
    """
    if not narrow():
        return lambda key: key
    known = set(keys)
    length = _SHORT_KEY
    while len({key[:length] for key in known}) < len(known):
        length += 1
    return lambda key: key[:length]


def with_short_keys(text: str) -> str:
    """Return a sentence for a terminal, in which keys are as tables show them; elsewhere as it is."""
    return _KEY.sub(lambda key: key[0][:_SHORT_KEY], text) if narrow() else text


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values; pairs without a value are left out."""
    built = Table(show_header=False, box=None, pad_edge=False)
    for name, value in pairs:
        if value:
            built.add_row(Text(printable(name), style="bold"), _cell(value, folded=True))
    return built


def moment(given: Timestamp) -> str:
    """Return a time as the clock here shows it."""
    return f"{given.ToDatetime(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def minute(given: Timestamp) -> str:
    """Return a time to the minute, where there is little room."""
    return moment(given)[:-3]


def age(length: timedelta) -> str:
    """Return a length of time in its largest unit, as in `12 s`, `5 min`, `3 h` or `9 d`."""
    seconds = max(0.0, length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(text: str, folded: bool) -> "RenderableType":
    overflow: OverflowMethod = "fold" if folded else "ellipsis"
    return Text(printable(text), style=_COLORS.get(text, ""), overflow=overflow, no_wrap=not folded)
