"""Which tests run in one process of pytest-xdist, one after the other, so that what is dear to start starts once a run.

Tests that share a federation, a broker or the workers of a cluster are a group, and else those of a file are one. The
folders with the largest budget begin, so that the cheap ones fill up the end.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.kit.budget import folder_of, read

GROUPS = {
    "faults/test_": "stage",
    "faults/executions/test_": "placing",
    "acceptance/test_demo": "demo",
    "acceptance/test_examples": "demo",
    "acceptance/test_substra": "demo",
    "acceptance/test_": "network",
    "conformance/executions/test_": "executions",
    "integration/celery/test_": "celery",
    "integration/modules/test_": "modules",
    "integration/brokers/test_": "brokers",
    "attacks/test_broker_": "brokers",
}
"""Parts of the names of tests that share what is dear; the first that fits counts."""


class Grouped(LoadScopeScheduling):
    """Gives each group of tests to one process as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the group of a test, by its name."""
    return next((group for part, group in GROUPS.items() if part in nodeid), nodeid.partition("::")[0])


def dear_first(items: list[pytest.Item], root: Path) -> None:
    """Put the tests of the dear folders first; their order in a folder stays.

    Args:
        items: all tests.
        root: folder of all tests.
    """
    budget = read(root)
    items.sort(key=lambda item: -budget.get(folder_of(item.path.relative_to(root).as_posix(), budget), 0.0))
