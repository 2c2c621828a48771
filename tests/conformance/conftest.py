"""One real server per test process; a channel of its own for each test."""

from collections.abc import Iterator
from itertools import count

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from tests.kit.messages import new_key
from tests.kit.organization import ORGANIZATIONS, Organization
from tests.kit.servers import serving
from tests.kit.transports import Wire, connect

CHANNELS = 1200
"""More than there are tests."""


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> str:
    """The URL of the server's database."""
    return postgres.create_database(f"conformance_{new_key().replace('-', '')}")


@pytest.fixture(scope="session")
def address(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the server."""
    channels = {f"channel-{number}": list(ORGANIZATIONS) for number in range(CHANNELS)}
    channels["closed"] = ["org-1"]
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, database, channels) as address:
        yield address


@pytest.fixture(scope="session")
def transport(address: str) -> Iterator[grpc.Channel]:
    with connect(address) as transport:
        yield transport


@pytest.fixture(scope="session")
def wire(transport: grpc.Channel) -> Wire:
    return Wire(transport)


@pytest.fixture(scope="session")
def fresh_channels() -> Iterator[str]:
    return (f"channel-{number}" for number in count())


@pytest.fixture
def channel(fresh_channels: Iterator[str]) -> str:
    """A channel in which nobody has registered yet."""
    return next(fresh_channels)


@pytest.fixture
def bare(wire: Wire, channel: str) -> dict[str, Organization]:
    """Three organizations that have not registered."""
    return {name: Organization(wire, name, channel) for name in ORGANIZATIONS}


@pytest.fixture
def network(wire: Wire, channel: str) -> dict[str, Organization]:
    """Three registered organizations in a channel of their own."""
    return registered(wire, channel)


@pytest.fixture
def elsewhere(wire: Wire, fresh_channels: Iterator[str]) -> Organization:
    """The same org-1 in another channel."""
    return registered(wire, next(fresh_channels))["org-1"]


@pytest.fixture
def org(network: dict[str, Organization]) -> Organization:
    """The organization that owns things."""
    return network["org-1"]


@pytest.fixture
def other(network: dict[str, Organization]) -> Organization:
    return network["org-2"]


@pytest.fixture
def third(network: dict[str, Organization]) -> Organization:
    return network["org-3"]


@pytest.fixture
def plan(org: Organization) -> pb.ComputePlan:
    return org.register_plan()


@pytest.fixture
def function(org: Organization) -> pb.Function:
    """A READY function of any number of models to one model."""
    return org.register_function()


def registered(wire: Wire, channel: str) -> dict[str, Organization]:
    network = {name: Organization(wire, name, channel) for name in ORGANIZATIONS}
    for organization in network.values():
        organization.send(pb.RegisterOrganizationParam(address=""))
    return network
