from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.recorded import serving
from tests.kit.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        yield World(tmp_path, recorded, address)
