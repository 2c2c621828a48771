"""`orchestrator org register`, as a process against a real server."""

from collections.abc import Iterator

import pytest

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.embedded.certificates import Layout
from tests.kit.partners import Partners, opened

from .commands import options, run

URL = "https://store.org-1.example:9443/assets"


@pytest.fixture
def bare(served_address: str, certificates: Layout, free_channels: Iterator[str]) -> Iterator[Partners]:
    """A channel in which nobody is registered."""
    with opened(served_address, next(free_channels), certificates) as network:
        yield network


def registered(client: Client) -> dict[str, str]:
    answer = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    return {organization.id: organization.address for organization in answer.organizations}


def test_an_organization_registers_with_the_address_of_its_store(bare: Partners, certificates: Layout):
    # Its own --address is the store's; the orchestrator's stands before it.
    said = (0, f"org-1 is registered in {bare.channel}; its assets are fetched from {URL}\n", "")
    assert run("org", *options(bare, certificates), "register", "--address", f"{URL}/") == said
    assert registered(bare.hub) == {"org-1": URL}
    assert run("org", *options(bare, certificates), "register", environment={"ORCHESTRATOR_STORE_URL": URL}) == said


def test_an_address_is_for_good(bare: Partners, certificates: Layout):
    bare.data.register(pb.RegisterOrganizationParam())
    bare.hub.register(pb.RegisterOrganizationParam(address="https://old.example"))
    for organization, has in (("org-1", "no address"), ("org-2", "the address 'https://old.example'")):
        code, printed, errors = run("org", *options(bare, certificates, organization), "register", "--address", URL)
        assert (code, printed, errors.count("\n")) == (1, "", 1)
        assert f"{organization} is registered in {bare.channel} already, with {has}" in errors
        assert f"the others can name {URL} under `stores`" in errors
    assert registered(bare.hub) == {"org-1": "", "org-2": "https://old.example"}


@pytest.mark.parametrize("address", ["http://store.example", "https://store.example/a?b", "store"])
def test_an_address_from_which_nothing_would_be_fetched_is_refused(bare: Partners, certificates: Layout, address: str):
    code, printed, errors = run("org", *options(bare, certificates), "register", "--address", address)
    assert (code, printed) == (2, "")
    assert f"--address '{address}' is not a plain https URL" in errors
    assert not registered(bare.hub)
