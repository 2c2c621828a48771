"""Tables for a terminal that is narrower than they are."""

import io
import sys

import pytest
from rich.console import Console

from orchestrator.cli import tables
from orchestrator.client.scores import Score, Scores

KEY = "1a2b3c4d-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("hospitals", "form"), [(3, "round   score      hospital-1"), (12, "round   score      organization")]
)
def test_scores_are_never_cut(hospitals: int, form: str) -> None:
    found = Scores(Score(1, f"hospital-{number}", "accuracy", 0.8, "test", KEY) for number in range(1, hospitals + 1))
    output = Console(width=80, file=io.StringIO())
    forms = [tables.table(*head, rows=rows) for head, *rows in (found.table(), found.listed())]
    output.print(tables.fitting(output, *forms))
    assert isinstance(output.file, io.StringIO)
    shown = output.file.getvalue()
    assert (shown.count("0.8000"), "…" in shown, form in shown) == (hospitals, False, True)


def test_where_there_is_room_for_no_form_it_is_the_last() -> None:
    output = Console(width=5, file=io.StringIO())
    forms = [tables.table("a table", rows=[]), tables.table("another", rows=[])]
    assert tables.fitting(output, *forms) is forms[1]


def test_keys_in_sentences_are_short_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"its last parent {KEY} is Done"
    assert tables.with_short_keys(said) == said
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert tables.with_short_keys(said) == "its last parent 1a2b3c4d is Done"
