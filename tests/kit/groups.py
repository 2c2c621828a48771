"""Which tests run in one process of pytest-xdist, one after the other, so that what is dear to start starts once a run.

Tests that share a federation, a broker or the workers of a cluster are a group, and else those of a file are one. The
folders with the largest budget begin, so that the cheap ones fill up the end.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.budget import folder_of, read

SHARED = {
    "whole_stage": "stage",
    "worker_containers": "celery",
    "broker": "brokers",
    "on_rabbitmq": "brokers",
    "on_valkey": "brokers",
    "rabbitmq": "brokers",
    "losses": "federations",
}
"""Fixtures that are dear, and the group of those who use them; each of a fixture's parameters has one of its own."""


def group_of(item: pytest.Item, file: str) -> str:
    """Return the name of a test's group.

    Args:
        item: the test.
        file: its file, for those that share nothing dear.
    """
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in SHARED:
            parameters: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
            # A broker of each kind serves the whole group.
            parameter = "" if fixture == "broker" else parameters.get(fixture, "")
            return f"{SHARED[fixture]}{parameter}"
    return file


def put_together(items: list[pytest.Item], root: Path) -> None:
    """Mark the tests with their groups, and put the dear folders first; the order in a folder stays.

    Args:
        items: all tests.
        root: folder of all tests.
    """
    budget = read(root)
    files = {item: item.path.relative_to(root).as_posix() for item in items}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item, files[item])))
    items.sort(key=lambda item: -budget.get(folder_of(files[item], budget), 0.0))
