"""Scores by round and organization."""

import csv
import io
import json
import sys

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.client.scores import Score, Scores, rounds_of

ROUNDS = st.one_of(st.integers(0, 20), st.text("abc", min_size=1, max_size=3))
SCORES = st.lists(
    st.builds(
        Score,
        round=ROUNDS,
        organization=st.sampled_from(["org-1", "org-2"]),
        score=st.sampled_from(["accuracy", "a,b\n"]),
        value=st.floats(),
        function=st.text(max_size=5),
        task=st.uuids().map(str),
    ),
    max_size=8,
)


def task(key: str, rank: int, *parents: str, **metadata: str) -> pb.ComputeTask:
    inputs = [
        pb.ComputeTaskInput(identifier="model", parent_task_output=pb.ParentTaskOutputRef(parent_task_key=parent))
        for parent in parents
    ]
    return pb.ComputeTask(key=key, rank=rank, inputs=inputs, metadata=metadata)


def test_a_task_is_of_the_round_that_it_says_or_of_its_parents() -> None:
    tasks = [
        task("test", 3, "aggregate"),
        task("train", 0, round="1"),
        task("aggregate", 1, "train", "other"),
        task("other", 0, round_idx="2"),
        task("named", 0, round="warm-up"),
        task("alone", 5),
    ]
    assert rounds_of(tasks) == {"train": 1, "other": 2, "aggregate": 2, "test": 2, "named": "warm-up", "alone": 5}


@given(SCORES)
def test_each_score_is_in_each_form_once(given_scores: list[Score]) -> None:
    scores = Scores(given_scores)
    assert sorted(map(repr, scores)) == sorted(map(repr, given_scores))
    lines = list(csv.DictReader(io.StringIO(scores.csv())))
    assert [line["task"] for line in lines] == [each.task for each in scores]
    assert [line["value"] for line in lines] == [str(each.value) for each in scores]
    assert len(json.loads(json.dumps(scores.document(), allow_nan=False))) == len(given_scores)
    assert scores.csv().replace("\n", "").isprintable()
    head, *rows = scores.table()
    assert head[:2] == ["round", "score"]
    assert sum(len(cell.split()) for row in rows for cell in row[2:]) == len(given_scores)
    assert len(rows) == len({(each.round, each.score) for each in given_scores})


def test_the_table() -> None:
    found = [
        Score(2, "b", "auc", 0.5, "f", "1"),
        Score(10, "a", "auc", 0.25, "f", "2"),
        Score(2, "a", "auc", 1, "f", "3"),
    ]
    assert repr(Scores(found)).splitlines() == [
        "round  score       a       b",
        "    2    auc  1.0000  0.5000",
        "   10    auc  0.2500        ",
    ]
    assert repr(Scores([])) == "no scores yet"


def test_where_organizations_do_not_stand_side_by_side_each_has_a_row() -> None:
    found = [
        Score(2, "b", "auc", 0.5, "f", "1"),
        Score(2, "a", "auc", 1, "f", "3"),
        Score(3, "b", "auc", 0.25, "f", "2"),
    ]
    assert Scores(found).listed() == [
        ["round", "score", "organization", "value"],
        ["2", "auc", "a", "1.0000"],
        ["2", "auc", "b", "0.5000"],
        ["3", "auc", "b", "0.2500"],
    ]


def test_a_frame_holds_a_row_for_each_score() -> None:
    found = [Score(1, "a", "auc", 0.5, "f", "t")]
    assert Scores(found).frame().equals(pandas.DataFrame([vars(found[0])]))


def test_without_pandas_a_frame_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas.*csv\(\) and document\(\) do without"):
        Scores([]).frame()


def score(round_: int | str, value: float, organization: str = "org-1", name: str = "accuracy") -> Score:
    return Score(round_, organization, name, value, "test", f"{round_}")


def test_a_bar_for_each_round_and_one_scale_for_all_organizations() -> None:
    scores = Scores(
        [
            *(score(number, value) for number, value in enumerate([0.0, 0.5, 1.0, 0.5])),
            *(score(number, 0.5, "org-2") for number in range(2)),
            score(1, 0.25),
            score(1, 0.75),
            score(5, float("nan")),
            score(0, 0.5, name="auc"),
        ]
    )
    head, *rows = scores.curves()
    assert head == ["score", "organization", "by round", "first to last"]
    assert rows == [
        ["accuracy", "org-1", "▁▅█▅", "0.0000 to 0.5000"],
        ["accuracy", "org-2", "▅▅", "0.5000 to 0.5000"],
    ]
    assert Scores([score(0, 1.0)]).curves() == []


@given(SCORES)
def test_curves_are_drawn_of_whatever_was_measured(given_scores: list[Score]) -> None:
    for _, _, bars, _ in Scores(given_scores).curves()[1:]:
        assert set(bars) <= set("▁▂▃▄▅▆▇█")
        assert len(bars) > 1
