"""A federation to hurt, one for each pytest-xdist worker that asks; each test finds and leaves all its processes."""

from collections.abc import Iterator

import pytest

from tests.kit.stage import Stage


@pytest.fixture(scope="package")
def whole_stage(tmp_path_factory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(whole_stage) -> Iterator[Stage]:
    yield whole_stage
    whole_stage.restore()
