"""A federation of real processes, one for each pytest-xdist worker that asks.

All that is done in a federation is done twice: in one whose server answers, and in one that loses answers.
"""

from collections.abc import Iterator

import pytest

from orchestrator.embedded.federation import Federation, remove_data
from tests.acceptance.losses import Losses
from tests.kit.network import Network

TIME_LIMIT_SECONDS = 3


@pytest.fixture(scope="session", params=[0.0, 0.05], ids=["answered", "answers-lost"])
def losses(request) -> Losses:
    """The share of calls that are done and then answered UNAVAILABLE."""
    return Losses(request.param)


@pytest.fixture(scope="session")
def federation(tmp_path_factory, losses) -> Iterator[Federation]:
    limits = {"TASK_TIME_LIMIT": TIME_LIMIT_SECONDS, "TASK_KILL_GRACE": 1, "OUTPUT_SIZE_LIMIT": 10_000_000}
    settings = {**losses.settings, "TRANSIENT_OUTPUT_PERIOD": 1}
    folder = tmp_path_factory.mktemp("federation")
    federation = Federation(folder, ["org-a", "org-b"], settings=settings, worker_settings=limits)
    try:
        with federation:
            yield federation
            losses.check(federation)
    finally:
        remove_data(federation.data)


@pytest.fixture(scope="session")
def network(federation) -> Iterator[Network]:
    with Network(federation) as network:
        yield network
