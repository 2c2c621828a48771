"""Federations of real processes, one of a kind for each pytest-xdist worker that asks.

Their servers lose answers: what is right where each twentieth call must be made again is right where none must. The
command of the demo and the tests of other folders run in federations that answer.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from orchestrator.cli.experiment import AGGREGATOR, HOSPITALS
from orchestrator.embedded.federation import Federation, remove_data
from tests.acceptance import demonstrated, losses
from tests.acceptance.demonstrated import Demonstrated
from tests.kit.collector import Collector, collecting
from tests.kit.network import Network
from tests.kit.temporary import passable

TIME_LIMIT_SECONDS = 10


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="package")
def federation(tmp_path_factory, collector: Collector) -> Iterator[Federation]:
    """One whose processes are traced."""
    limits = {"TASK_TIME_LIMIT": TIME_LIMIT_SECONDS, "TASK_KILL_GRACE": 1, "OUTPUT_SIZE_LIMIT": 10_000_000}
    settings = {**losses.SETTINGS, "TRANSIENT_OUTPUT_PERIOD": 1, "RETRY_BACKOFF": "100ms"}
    folder = passable(tmp_path_factory.mktemp("federation"))
    federation = Federation(folder, ["org-a", "org-b"], settings=settings, worker_settings=limits, flower=False)
    try:
        with ExitStack() as running:
            with pytest.MonkeyPatch.context() as environment:
                for name, value in collector.environment.items():
                    environment.setenv(name, value)
                running.enter_context(federation)
            yield federation
            losses.check(federation)
    finally:
        remove_data(federation.data)


@pytest.fixture(scope="package")
def network(federation) -> Iterator[Network]:
    with Network(federation) as network:
        yield network


@pytest.fixture(scope="package")
def demo(tmp_path_factory) -> Iterator[Demonstrated]:
    """Three hospitals and their aggregator after the demo; the federation goes on."""
    folder = passable(tmp_path_factory.mktemp("demo"))
    federation = Federation(folder, [*HOSPITALS, AGGREGATOR], settings=losses.SETTINGS)
    try:
        with demonstrated.run(federation) as done:
            yield done
            losses.check(federation)
    finally:
        remove_data(federation.data)
