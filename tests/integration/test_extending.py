"""The recipes of docs/extending.md: what they show is run, or stands in what is run elsewhere."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.engine import nodes
from orchestrator.engine.transaction import Database

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
KIND = ROOT / "docs" / "extending" / "kind.md"


def blocks(page: Path, language: str, heading: str = "") -> list[str]:
    """Return the examples of a page in a language, those below a heading alone where one is given."""
    text = page.read_text()
    if heading:
        (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def unindented(code: str) -> str:
    """Return code without indentation: an example may stand alone that lies in a class."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())


def defined(heading: str) -> dict[str, Any]:
    """Return what the one example below a heading defines."""
    (block,) = blocks(PAGE, "python", heading)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_sweep_repairs_batch_by_batch(database: Database):
    example = defined("A sweep")
    sweep = example["make"](SimpleNamespace(stale_queue_period=1.0, sweep_batch=2))
    for number in range(5):
        database.run("org-1", "channel", lambda t, number=number: nodes.hear(t, "node-1", 0, f"queue.{number}", 1))
    assert sweep.sweep(database, datetime.now(UTC)) == 0
    assert sweep.sweep(database, datetime.now(UTC) + timedelta(days=366)) == 5


def test_the_statement_counts(database: Database):
    assert database.run("org-1", "channel", defined("A statement")["count_running"]) == 0


def test_the_setting_is_read(monkeypatch: pytest.MonkeyPatch):
    settings = defined("A setting")["MoreSettings"]
    needed = {"database_url": "postgresql://unused", "broker_url": "redis://unused"}
    monkeypatch.setenv("ORCHESTRATOR_UNREAD_QUEUE_AGE", "2h")
    assert settings(**needed).unread_queue_age == 7200
    monkeypatch.setenv("ORCHESTRATOR_UNREAD_QUEUE_BATCH", "0")
    with pytest.raises(ValidationError, match="greater than 0"):
        settings(**needed)


def test_the_column_s_revision_is_the_one_that_is_tested():
    (block,) = blocks(PAGE, "python", "A column")
    assert block in (ROOT / "tests/integration/upgrade/versions/9001_running.py").read_text()


@pytest.mark.parametrize(("language", "file"), [("python", "echo.py"), ("proto", "echo.proto")])
def test_the_kind_is_the_one_that_is_tested(language: str, file: str):
    shown = blocks(KIND, language)
    assert shown
    source = unindented((ROOT / "tests" / "kinds" / file).read_text())
    assert not [block for block in shown if unindented(block) not in source]


def test_the_kind_s_entry_point_is_the_one_that_is_tested():
    (block,) = blocks(KIND, "toml")
    assert re.findall(r"^echo = \"(.*)\"$", block, re.MULTILINE) == ["tests.kinds.echo:KIND"]
    assert "tests.kinds.echo:KIND" in (ROOT / "tests/kinds/distribution.py").read_text()


ROOMS = (
    "orchestrator|beat|workers|tests|migrations|charts|benchmarks|rpc|calls|gateway|compute|engine|dispatch|trace|store"
)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_all_files_that_a_page_names_are_there(page: Path):
    named = re.findall(rf"`((?:{ROOMS})/[\w./-]+?)`", page.read_text())
    # NAME is for the reader to choose; the orchestrator's own rooms are named without it in front.
    sought = [name for name in named if "NAME" not in name]
    assert not [name for name in sought if not any((root / name).exists() for root in (ROOT, ROOT / "orchestrator"))]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_all_pages_that_a_page_leads_to_are_there(page: Path):
    led = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in led if not (page.parent / link).exists()]
