"""What the demo says at its end: the scores, what happened, and whether it is what it should be."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from rich.table import Table

Scores = Mapping[str, Mapping[str, float]]
"""Hospital -> `accuracy` and `auc` on its own test patients."""

LEAST_ACCURACY = 0.93
MOST_DIFFERENCE = 0.02

_MEASURES = {"accuracy": "accuracy", "auc": "AUC"}


@dataclass(frozen=True)
class Comparison:
    """The scores of three ways to train.

    Args:
        federated: by the compute plan; each model was tested by its hospital.
        alone: each hospital's model of its own patients only.
        pooled: one model of all patients in one place.
    """

    federated: Scores
    alone: Scores
    pooled: Scores

    @property
    def columns(self) -> Mapping[str, Scores]:
        """What people call them -> scores."""
        return {"federated": self.federated, "alone": self.alone, "pooled": self.pooled}


@dataclass(frozen=True)
class Facts:
    """What was measured of a run.

    Args:
        tasks: state in people's words -> how many.
        attempts: how often a task was begun.
        messages: sent to the queues of the organizations.
        events: in the channel.
        seconds: from the plan's registration to its end.
    """

    tasks: Mapping[str, int]
    attempts: int
    messages: int
    events: int
    seconds: float


def faults(tasks: Mapping[str, int], comparison: Comparison) -> list[str]:
    """Return what is not as it should be, in words; nothing if the demo is a success.

    Args:
        tasks: state in people's words -> how many.
        comparison: the scores.
    """
    found = [f"{count} of the tasks are {word}, not Done" for word, count in tasks.items() if count and word != "Done"]
    missing = [name for name in comparison.pooled if "accuracy" not in comparison.federated.get(name, {})]
    if missing:
        return [*found, f"the shared model was not tested at {', '.join(missing)}"]
    federated, pooled = average(comparison.federated, "accuracy"), average(comparison.pooled, "accuracy")
    if federated < LEAST_ACCURACY:
        found.append(f"the federated model's mean accuracy is {federated:.4f}, less than {LEAST_ACCURACY}")
    if abs(federated - pooled) > MOST_DIFFERENCE:
        found.append(
            f"the federated model's mean accuracy, {federated:.4f}, is not within {MOST_DIFFERENCE} of the pooled "
            f"one's, {pooled:.4f}"
        )
    return found


def average(scores: Scores, measure: str) -> float:
    """Return the mean over the hospitals."""
    return mean(score[measure] for score in scores.values())


def score_table(comparison: Comparison) -> Table:
    """Return the scores as a table: a row for each hospital, then the means."""
    table = Table(title="On each hospital's own test patients", title_justify="left", title_style="bold")
    table.add_column("")
    for measure in _MEASURES.values():
        for column in comparison.columns:
            table.add_column(f"{measure}\n{column}", justify="right")
    hospitals = list(comparison.pooled)
    for name in hospitals:
        table.add_row(
            name,
            *(
                _number(scores.get(name, {}).get(measure))
                for measure in _MEASURES
                for scores in comparison.columns.values()
            ),
            end_section=name == hospitals[-1],
        )
    complete = all(measure in comparison.federated.get(name, {}) for name in hospitals for measure in _MEASURES)
    if complete:
        means = [average(scores, measure) for measure in _MEASURES for scores in comparison.columns.values()]
        table.add_row("mean", *map(_number, means), style="bold")
    return table


def fact_table(facts: Facts, flower: str, stays: bool) -> Table:
    """Return what happened as a table.

    Args:
        facts: what was measured.
        flower: where Flower is.
        stays: whether it is still there after the demo.
    """
    table = Table.grid(padding=(0, 2))
    states = ", ".join(f"{count} {word}" for word, count in facts.tasks.items() if count)
    table.add_row("tasks", f"{states} in {facts.seconds:.1f} s, each in a process of its own")
    table.add_row("attempts", f"{facts.attempts}")
    table.add_row("messages", f"{facts.messages} sent to the organizations' queues")
    table.add_row("events", f"{facts.events} written")
    table.add_row("Flower", flower)
    if not stays:
        table.add_row("", "which ends now; --keep-running leaves it there")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
