"""What a row of the bench is, and what it finds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.side import Side
    from benchmarks.stage import Stage


@dataclass(frozen=True)
class Number:
    """One thing that was measured.

    Args:
        value: how much.
        unit: of what; more is better where it is a rate (`tasks/s`) or a share (`%`), less is better elsewhere.
        yardstick: what was measured beside it in the same minute, in the same unit; None where there is none.
        beside: what the yardstick is.
    """

    value: float
    unit: str
    yardstick: float | None = None
    beside: str = ""


def more_is_better(unit: str) -> bool:
    """Tell in which direction a unit improves."""
    return unit.endswith("/s") or unit == "%"


Numbers = Mapping[str, Number]
Measure = Callable[["Stage", "Side"], Numbers]


@dataclass(frozen=True)
class Row:
    """One measurement, made for each side in turn.

    Args:
        name: of the row; `--rows` chooses by its beginning.
        about: what is measured, in a few words.
        measure: does it for one side; the names that it returns are lines of the table.
        tls: whether the server speaks mutual TLS.
        workers: whether the organizations' workers and asset stores run.
        once: whether repeating it says nothing new.
        needs: a product, `executions` or `problems`, or a method of gRPC that not every checkout serves; else empty.
    """

    name: str
    about: str
    measure: Measure
    tls: bool = False
    workers: bool = False
    once: bool = False
    needs: str = ""
