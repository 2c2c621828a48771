"""The table of a run: for the terminal, as JSON, and for `docs/performance.md`."""

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from benchmarks.measure import more_is_better
from benchmarks.run import Line, Table

_PLACE = re.compile(r"(<!-- begin bench -->\n).*?(<!-- end bench -->)", re.DOTALL)


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _improvement(line: Line, ours: str, other: str) -> float | None:
    """Return by which factor our side is better than another, below 1 if it is worse."""
    value, before = line.value(ours), line.value(other)
    if not value or not before:
        return None
    return value / before if more_is_better(line.unit) else before / value


def _head(sides: Sequence[str]) -> list[str]:
    others = [f"better than {other} by" for other in sides[1:]]
    return ["row", "measured", "unit", *sides, *others, "yardstick", "share of it", "which is", "others took"]


def _cells(line: Line, sides: Sequence[str]) -> list[str]:
    ours = sides[0]
    value, yardstick = line.value(ours), line.yardstick(ours)
    factors = [_improvement(line, ours, other) for other in sides[1:]]
    return [
        line.row.name,
        line.name,
        line.unit,
        *(_shown(line.value(side)) for side in sides),
        *("–" if factor is None else f"{factor:.2f}" for factor in factors),
        _shown(yardstick),
        "–" if value is None or not yardstick else f"{value / yardstick:.2f}",
        line.beside(ours),
        f"{statistics.median(line.others):.0f} %",
    ]


def show(console: Console, table: Table, sides: Sequence[str], facts: Mapping[str, str]) -> None:
    """Print the table."""
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)
    grid = Grid(*_head(sides))
    for number in range(3, 3 + len(sides) + len(sides[1:]) + 2):
        grid.columns[number].justify = "right"
    before = None
    for line in table.lines:
        name, *cells = _cells(line, sides)
        grid.add_row("" if line.row is before else name, *cells)
        before = line.row
    console.print(grid)
    for name, reason in table.failures.items():
        console.print(f"not measured: {name}: {reason}", highlight=False, markup=False)
    for name, reason in table.passed_over.items():
        console.print(f"passed over: {name}: {reason}", highlight=False, markup=False)


def to_json(table: Table, sides: Sequence[str], facts: Mapping[str, str]) -> str:
    """Return all that was found, each round by itself."""
    lines = [
        {
            "row": line.row.name,
            "about": line.row.about,
            "measured": line.name,
            "unit": line.unit,
            "others took": line.others,
            "sides": {
                side: {
                    "median": line.value(side),
                    "rounds": [number.value for number in line.found.get(side, ())],
                    "yardsticks": [number.yardstick for number in line.found.get(side, ())],
                    "yardstick": line.beside(side),
                }
                for side in sides
            },
            "better": {other: _improvement(line, sides[0], other) for other in sides[1:]},
        }
        for line in table.lines
    ]
    found = {"facts": dict(facts), "lines": lines, "failures": table.failures, "passed over": table.passed_over}
    return json.dumps(found, indent=1)


def has_place(page: Path) -> bool:
    """Tell whether a page has the one place where `write_page` writes."""
    return len(_PLACE.findall(page.read_text())) == 1


def write_page(page: Path, table: Table, sides: Sequence[str], facts: Mapping[str, str]) -> None:
    """Write the table into a page that has a place for it: from `<!-- begin bench -->` to `<!-- end bench -->`."""
    head = _head(sides)
    rows = [head, ["---"] * len(head), *(_cells(line, sides) for line in table.lines)]
    text = "\n".join(
        [
            *(f"- {name}: {value}" for name, value in facts.items()),
            *(f"- not measured: {name}: {reason}" for name, reason in table.failures.items()),
            *(f"- passed over: {name}: {reason}" for name, reason in table.passed_over.items()),
            "",
            *(f"| {' | '.join(cells)} |" for cells in rows),
        ]
    )
    page.write_text(_PLACE.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text()))
