"""A federation with six modules, one for all tests of the folder."""

from collections.abc import Iterator

import pytest

from tests.kit.modules import Modules, six
from tests.kit.temporary import passable


@pytest.fixture(scope="package")
def modules(tmp_path_factory) -> Iterator[Modules]:
    with Modules(passable(tmp_path_factory.mktemp("problems"))) as modules, six(modules):
        yield modules


@pytest.fixture(autouse=True)
def _silence(modules: Modules) -> Iterator[None]:
    yield
    modules.silence()
