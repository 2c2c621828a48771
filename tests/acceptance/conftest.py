"""A federation of real processes, one for each pytest-xdist worker that asks."""

from collections.abc import Iterator

import pytest

from orchestrator.embedded.federation import Federation, remove_data
from tests.acceptance.network import Network

TIME_LIMIT_SECONDS = 3


@pytest.fixture(scope="session")
def federation(tmp_path_factory) -> Iterator[Federation]:
    limits = {"TASK_TIME_LIMIT": TIME_LIMIT_SECONDS, "TASK_KILL_GRACE": 1, "OUTPUT_SIZE_LIMIT": 10_000_000}
    periods = {"TRANSIENT_OUTPUT_PERIOD": 1}
    folder = tmp_path_factory.mktemp("federation")
    federation = Federation(folder, ["org-a", "org-b"], settings=periods, worker_settings=limits)
    try:
        with federation:
            yield federation
    finally:
        remove_data(federation.data)


@pytest.fixture(scope="session")
def network(federation) -> Iterator[Network]:
    with Network(federation) as network:
        yield network
