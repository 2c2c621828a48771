"""A run: each row for each side in turn, several times, and what came of it."""

import statistics
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Number, Row
from benchmarks.processor import Others
from benchmarks.rows import (
    echo,
    end_to_end,
    events,
    executions,
    growth,
    heartbeats,
    latency,
    life,
    problems,
    processes,
    queries,
    register,
    steady,
    unblock,
)
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator.embedded.interruption import Interrupted

_KINDS = (
    echo,
    life,
    heartbeats,
    processes,
    register,
    unblock,
    events,
    queries,
    executions,
    problems,
    latency,
    end_to_end,
    growth,
    steady,
)

_LAST = ("growth", "steady")
"""Rows that leave much behind."""


@dataclass
class Line:
    """One line of the table.

    Args:
        row: of which it is one number.
        name: of the number.
        found: by side, what each round found.
        others: how much of the machine, in percent, others took meanwhile, at each measurement.
    """

    row: Row
    name: str
    found: dict[str, list[Number]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """Of its numbers."""
        return next(iter(self.found.values()))[0].unit

    def value(self, side: str) -> float | None:
        """Return the median of a side, None where it has none."""
        numbers = self.found.get(side)
        return statistics.median(number.value for number in numbers) if numbers else None

    def yardstick(self, side: str) -> float | None:
        """Return the median of a side's yardstick, None where it has none."""
        values = [number.yardstick for number in self.found.get(side, ()) if number.yardstick is not None]
        return statistics.median(values) if values else None

    def beside(self, side: str) -> str:
        """Say what the yardstick of a side was, at the last round."""
        numbers = self.found.get(side)
        return numbers[-1].beside if numbers else ""


@dataclass
class Table:
    """What a run found.

    Args:
        lines: in the order of the rows.
        failures: rows that could not be measured, and why.
        passed_over: rows that were not measured for a side, and why.
    """

    lines: list[Line] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)


def chosen(sizes: Sizes, beginnings: Sequence[str]) -> list[Row]:
    """Return the rows, those whose name begins in one of these ways; all if none is named.

    Those that need the same processes stand together, but for those that leave much behind, which come last.
    """
    rows = [row for kind in _KINDS for row in kind.rows(sizes)]
    wanted = [row for row in rows if not beginnings or row.name.startswith(tuple(beginnings))]
    return sorted(wanted, key=lambda row: (row.name.startswith(_LAST), row.workers, row.tls))


def measure(stage: Stage, rows: Sequence[Row], tell: Callable[[str], None], table: Table) -> None:
    """Measure rows, the sides one after another within each round, and in the other order in the next one.

    Args:
        stage: with the sides.
        rows: to measure.
        tell: called with a few words before each.
        table: takes what is found, also where the run is interrupted.
    """
    for row in rows:
        lines: dict[str, Line] = {}
        try:
            for number in range(1 if row.once else stage.sizes.repeats):
                stage.forget()
                for side in stage.sides if number % 2 == 0 else reversed(stage.sides):
                    if row.needs and not side.checkout.serves(row.needs):
                        table.passed_over[row.name] = f"{side.name} serves no {row.needs}"
                        tell(f"{row.name}: passed over, since {table.passed_over[row.name]}")
                        continue
                    tell(f"{row.name}: {row.about} ({side.name})")
                    _measure(stage, side, row, lines)
        except Interrupted:
            table.failures[row.name] = "interrupted, with all that would have followed"
            raise
        except Exception as error:
            # A row that fails is shown as such, and the others are measured all the same.
            table.failures[row.name] = "".join(traceback.format_exception_only(error)).strip()
            traceback.print_exc()
        finally:
            table.lines += lines.values()


def _measure(stage: Stage, side: Side, row: Row, lines: dict[str, Line]) -> None:
    side.ensure(tls=row.tls, workers=row.workers)
    others = Others()
    numbers = row.measure(stage, side)
    share = others.share
    for name, number in numbers.items():
        line = lines.setdefault(name, Line(row, name))
        line.found.setdefault(side.name, []).append(number)
        line.others.append(share)
