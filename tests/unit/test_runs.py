"""The check of the fault tests that two runs of a task never run at the same time."""

import pytest

from tests.kit.runs import TOLERANCE_SECONDS, Kind, Word, faults

ENOUGH = 2 * TOLERANCE_SECONDS


def broken(*said: tuple[str, int, float]) -> list[Kind]:
    return [each.kind for each in faults([Word(word, "task", number, time) for word, number, time in said], {}, {})]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([("end", 1, 10 + ENOUGH)], id="to its end"),
        pytest.param([("last", 1, 10 + ENOUGH)], id="until it was killed"),
        pytest.param([("pause", 1, 5), ("resume", 1, 11), ("last", 1, 11 + ENOUGH)], id="after a pause"),
    ],
)
def test_two_runs_at_once_are_found(first):
    assert broken(("start", 1, 0), *first, ("start", 2, 10), ("end", 2, 20)) == [Kind.DOUBLE]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([("end", 1, 10)], id="ended before"),
        pytest.param([("last", 1, 10 + TOLERANCE_SECONDS / 2)], id="within what is tolerated"),
        pytest.param([("pause", 1, 9), ("resume", 1, 21), ("end", 1, 25)], id="paused meanwhile"),
        pytest.param([("pause", 1, 9), ("resume", 1, 15), ("last", 1, 15)], id="never ran again"),
    ],
)
def test_runs_one_after_the_other_are_right(first):
    assert not broken(("start", 1, 0), *first, ("start", 2, 10), ("end", 2, 20))


def test_runs_of_two_tasks_may_overlap():
    words = [Word("start", "a", 1, 0), Word("start", "b", 2, 0), Word("last", "a", 1, 9), Word("last", "b", 2, 9)]
    assert not faults(words, {}, {})
