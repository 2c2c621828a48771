from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.pool import Pool
from tests.kit.recorded import serving
from tests.kit.world import World


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


@pytest.fixture
def world(tmp_path: Path, pool: Pool) -> Iterator[World]:
    with serving() as (recorded, address):
        yield World(tmp_path, recorded, address, pool)
