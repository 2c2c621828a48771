"""What a compute plan has measured: by round and organization."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any, overload

from orchestrator import protos as pb
from orchestrator.client.continuation import Continuation, links_of
from orchestrator.client.printing import printable
from orchestrator.client.shown import table, text
from orchestrator.client.steps import Steps

if TYPE_CHECKING:
    from pandas import DataFrame

ROUNDS = ("round", "round_idx")
"""What a task's metadata may call its round; the second is substrafl's word."""

_PAGE = 1000
_BARS = "▁▂▃▄▅▆▇█"
_FIELDS = ("round", "organization", "score", "value", "function", "task", "origin")
_REUSED = "*"


@dataclass(frozen=True)
class Score:
    """A number that a task measured.

    Args:
        round: what the task's metadata, or else those of the tasks before it, say; the task's rank where none does.
        organization: that ran the task.
        score: what the function calls it, as in `accuracy`.
        value: the number.
        function: the function's name.
        task: the task's key.
        origin: the key of the compute plan that it was measured in, where that is another that this one continues.
    """

    round: int | str
    organization: str
    score: str
    value: float
    function: str
    task: str
    origin: str = ""


class Scores(Sequence[Score]):
    """The scores of a compute plan, by round, then score, then organization.

    Args:
        found: the scores, in any order.
    """

    def __init__(self, found: Iterable[Score]) -> None:
        self._scores = sorted(found, key=lambda each: (order(each.round), each.score, each.organization, each.task))

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Score]: ...
    def __getitem__(self, index: int | slice) -> Score | Sequence[Score]:
        return self._scores[index]

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        lines = self.table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = ("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([*shown, *self.notes()]) if self._scores else "no scores yet"

    def _repr_html_(self) -> str:
        head, *rows = self.table()
        return table(head, rows) + "".join(f"<p>{text(note)}</p>" for note in self.notes()) if rows else "no scores yet"

    def table(self) -> list[list[str]]:
        """Return round × organization as text, its head first; several values of one place stand side by side."""
        organizations = sorted({each.organization for each in self._scores})
        cells: dict[tuple[int | str, str], dict[str, list[str]]] = {}
        for each in self._scores:
            row = cells.setdefault((each.round, each.score), {})
            row.setdefault(each.organization, []).append(f"{each.value:.4f}{_REUSED if each.origin else ''}")
        rows = [
            [printable(str(number)), printable(score), *(" ".join(row.get(name, [])) for name in organizations)]
            for (number, score), row in cells.items()
        ]
        return [["round", "score", *map(printable, organizations)], *rows]

    def listed(self) -> list[list[str]]:
        """Return the same with a row for each place, for where not all organizations stand side by side."""
        head, *rows = self.table()
        cells = ((row[:2], name, value) for row in rows for name, value in zip(head[2:], row[2:], strict=True))
        return [[*head[:2], "organization", "value"], *([*of, name, value] for of, name, value in cells if value)]

    def notes(self) -> list[str]:
        """Return what belongs below the table: where the scores were measured that are reused."""
        origins = list(dict.fromkeys(each.origin for each in self._scores if each.origin))
        return [f"{_REUSED} reused, measured in compute plan {', '.join(origins)}"] if origins else []

    def curves(self) -> list[list[str]]:
        """Return how each score of each organization went from round to round: its head first, then a bar for a round.

        The bars of a score share one scale. A score of which no organization has two rounds has none, and of several
        values of one round the mean is shown.
        """
        values: dict[tuple[str, str], dict[int | str, list[float]]] = {}
        for each in self._scores:
            if math.isfinite(each.value):
                values.setdefault((each.score, each.organization), {}).setdefault(each.round, []).append(each.value)
        means = {name: [mean(found) for found in rounds.values()] for name, rounds in values.items()}
        scales: dict[str, list[float]] = {}
        for (score, _), curve in means.items():
            scales.setdefault(score, []).extend(curve)
        rows = [
            [printable(score), organization, _bars(curve, scales[score]), f"{curve[0]:.4f} to {curve[-1]:.4f}"]
            for (score, organization), curve in sorted(means.items())
            if len(curve) > 1
        ]
        return [["score", "organization", "by round", "first to last"], *rows] if rows else []

    def csv(self) -> str:
        """Return a line of comma-separated values for each score, after one with their names.

        What is not printable in the texts of others is replaced.
        """
        written = io.StringIO()
        lines = csv.DictWriter(written, _FIELDS, lineterminator="\n")
        lines.writeheader()
        for each in self._scores:
            fields = asdict(each)
            lines.writerow(
                {name: printable(value) if isinstance(value, str) else value for name, value in fields.items()}
            )
        return written.getvalue()

    def document(self) -> list[dict[str, Any]]:
        """Return them for JSON, which has no word for a value that is no number: it is null there."""
        return [{**asdict(each), "value": each.value if math.isfinite(each.value) else None} for each in self._scores]

    def frame(self) -> "DataFrame":
        """Return a pandas frame with a row for each score.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("a frame needs pandas: `pip install pandas`; csv() and document() do without") from None
        return pd.DataFrame([asdict(each) for each in self._scores], columns=list(_FIELDS))


def order(number: int | str) -> tuple[bool, int, str]:
    """Return what rounds are sorted by: numbers, then words."""
    return (isinstance(number, str), 0, number) if isinstance(number, str) else (False, number, "")


def _bars(curve: Sequence[float], scale: Sequence[float]) -> str:
    # As fractions: between two floats there may be more than a float can say.
    least = Fraction(min(scale))
    length = Fraction(max(scale)) - least or 1
    return "".join(_BARS[round((Fraction(value) - least) / length * (len(_BARS) - 1))] for value in curve)


def rounds_of(tasks: Iterable[pb.ComputeTask]) -> dict[str, int | str]:
    """Return the round of each task of a compute plan, by its key.

    Args:
        tasks: all of the plan; parents have a lower rank than their children.
    """
    known: dict[str, int | str | None] = {}
    ranks: dict[str, int] = {}
    for task in sorted(tasks, key=lambda task: task.rank):
        ranks[task.key] = task.rank
        own = next((task.metadata[name] for name in ROUNDS if name in task.metadata), None)
        parents = [known.get(each.parent_task_output.parent_task_key) for each in task.inputs]
        inherited = [number for number in parents if number is not None]
        known[task.key] = _number(own) if own is not None else max(inherited, key=order, default=None)
    return {key: ranks[key] if number is None else number for key, number in known.items()}


def inherited(
    rounds: Mapping[str, int | str], first: Mapping[str, int | str], link: Continuation
) -> dict[str, int | str]:
    """Return the round of each task of a plan that continues another, and of each that it reuses.

    A task that stands in the place of another is of its round: its parents may be those of the first plan.

    Args:
        rounds: as its own tasks say.
        first: those of the first plan.
        link: how it continues that.
    """
    stands = {new: first[old] for old, new in link.again.items() if old in first}
    return {**rounds, **stands, **{task: first[task] for task in link.reused if task in first}}


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


@dataclass(frozen=True)
class _Measured:
    """What a plan has measured.

    Args:
        rounds: task -> round, of its own tasks and of those that it reuses.
        scores: of all these.
    """

    rounds: Mapping[str, int | str]
    scores: Sequence[Score]


def scores(plan: str) -> Steps[Scores]:
    """Ask for the scores of a compute plan; see `Client.scores`."""
    yield lambda client: client.plans.GetPlan(pb.GetComputePlanParam(key=plan))
    return Scores((yield from _measured(plan)).scores)


def _measured(plan: str) -> Steps[_Measured]:
    of_plan = pb.FunctionQueryFilter(compute_plan_key=plan)
    functions: list[pb.Function] = yield from _pages(_functions, pb.QueryFunctionsParam(filter=of_plan), "Functions")
    tasks: list[pb.ComputeTask] = yield from _pages(
        _tasks, pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=plan)), "tasks"
    )
    measured: list[pb.Performance] = yield from _pages(
        _performances, pb.QueryPlanPerformancesParam(compute_plan_key=plan), "performances"
    )
    rounds, found = rounds_of(tasks), list[Score]()
    link = (yield from links_of(plan)).continues
    if link is not None:
        first: _Measured = yield from _measured(link.origin)
        rounds = inherited(rounds, first.rounds, link)
        reused = set(link.reused)
        found += [replace(each, origin=each.origin or link.origin) for each in first.scores if each.task in reused]
    names, by_key = {function.key: function.name for function in functions}, {task.key: task for task in tasks}
    for each in measured:
        # One that was registered since the tasks were listed has its turn the next time.
        if task := by_key.get(each.compute_task_key):
            name = each.compute_task_output_identifier
            function = names.get(task.function_key, task.function_key)
            found.append(Score(rounds[task.key], task.worker, name, each.performance_value, function, task.key))
    return _Measured(rounds, found)


def _functions(client: Any, request: pb.QueryFunctionsParam) -> Any:
    return client.functions.QueryFunctions(request)


def _tasks(client: Any, request: pb.QueryTasksParam) -> Any:
    return client.tasks.QueryTasks(request)


def _performances(client: Any, request: pb.QueryPlanPerformancesParam) -> Any:
    return client.inspection.QueryPlanPerformances(request)


def _pages(query: Any, request: Any, field: str) -> Steps[list[Any]]:
    request.page_size = _PAGE
    rows: list[Any] = []
    while True:
        answer = yield partial(query, request=request)
        rows += getattr(answer, field)
        if not answer.next_page_token:
            return rows
        request.page_token = answer.next_page_token
