"""What every statement must keep to, so that it also runs on the tables of the next release."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(file for room in ("orchestrator", "beat") for file in (ROOT / room).rglob("*.py"))
ALL_COLUMNS = re.compile(
    r"SELECT\s+(?:\w+\.)?\*|,\s*\w+\.\*|RETURNING\s+(?:\w+\.)?\*|INSERT INTO \w+\s+(?:SELECT|VALUES)"
)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_statement_names_its_columns(file: Path):
    """Else a prepared statement fails as soon as a migration adds one: `cached plan must not change result type`."""
    assert not ALL_COLUMNS.findall(file.read_text())


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM nodes", "SELECT nodes.* FROM nodes", "SELECT a, nodes.* FROM nodes", "RETURNING *"]
)
def test_one_that_does_not_is_found(statement: str):
    assert ALL_COLUMNS.search(statement)
