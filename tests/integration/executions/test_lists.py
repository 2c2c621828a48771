"""Pages of lists whose rows are large: all of them come, in their order, and few are in memory at once."""

import tracemalloc

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.executions import schemas
from orchestrator.executions.lists import listing
from tests.integration.counted import counting

ROWS, MEGABYTE = 24, 1024 * 1024


@pytest.fixture
def stored(database: Database) -> Database:
    """A database with schemas of a megabyte each, and small ones between them."""
    with database.engine.begin() as connection:
        for number in range(ROWS):
            sizes = {f"{number:03}": MEGABYTE, f"{number:03}+": 10}
            made = (pb.WorkflowSchema(name=name, description="x" * size) for name, size in sizes.items())
            connection.execute(
                text(
                    "INSERT INTO schemas (channel, name, type, implementation, created_at, message) "
                    "VALUES ('channel', :name, 'joint', 'dummy', now(), :message)"
                ),
                [{"name": each.name, "message": each.SerializeToString()} for each in made],
            )
    return database


def read(database: Database, **query: str) -> list[tuple[str, int]]:
    """Return the names on a page and how long their descriptions are, and keep no more of it."""
    asked = listing.read(query, schemas.SORTABLE, schemas.FILTERS, {})

    def use(transaction: Transaction) -> list[tuple[str, int]]:
        _, _, rows = schemas.page(transaction, asked)
        return [(row.name, len(row.description)) for row in rows]

    return database.run("central", "channel", use)


def test_a_large_page_is_read_some_megabytes_at_once(stored: Database):
    everything = [pair for number in range(ROWS) for pair in ((f"{number:03}", MEGABYTE), (f"{number:03}+", 10))]
    assert read(stored, sort="name", page_size="2") == everything[:2]
    tracemalloc.start()
    try:
        found = read(stored, sort="name")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == everything
    assert peak < 18 * MEGABYTE
    assert read(stored, sort="-name", page="2", page_size="20") == everything[::-1][20:40]


def test_statements_do_not_grow_with_rows_but_with_megabytes(stored: Database):
    costs = []
    for query in ({"page_size": "1"}, {"page_size": "12"}, {}):
        with counting() as statements:
            read(stored, sort="name", **query)
        costs.append(len(statements))
    one, twelve, everything = costs
    assert one == twelve
    assert everything == one + 3
