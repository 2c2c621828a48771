"""Assets that are registered once through the SDK, however many answers are lost."""

import asyncio
from collections import Counter

import pytest

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, CallError, Client
from orchestrator.embedded.certificates import Layout
from tests.kit.messages import new_data_manager, new_data_sample, new_function, new_key
from tests.kit.partners import Partners

from .lossy import in_front_of


def assets(network: Partners) -> list[object]:
    """One of each kind, as org-1 would register it; with keys as people may write them."""
    permissions = pb.NewPermissions(authorized_ids=["org-2"])
    return [
        new_function(key=new_key().upper(), new_permissions=permissions, metadata={"a": "b"}),
        new_data_manager(new_permissions=permissions, logs_permission=pb.NewPermissions(public=True), type="x"),
        new_data_sample(network.manager.upper(), network.manager),
    ]


def events_of(client: Client, key: str) -> int:
    wanted = pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key=key.lower(), event_kind=pb.EVENT_ASSET_CREATED))
    return len(client.events.QueryEvents(wanted).events)


@pytest.mark.parametrize("losses", [0, 1, 3])
def test_each_is_registered_once(network: Partners, certificates: Layout, losses: int):
    files = certificates.client("org-1").credentials()
    methods = ("RegisterFunction", "RegisterDataManager", "RegisterDataSamples")
    with (
        in_front_of(network.address, files, dict.fromkeys(methods, losses)) as (address, lossy),
        Client(address, "org-1", network.channel) as client,
    ):
        for new in assets(network):
            registered = client.register(new)
            assert (registered.key, registered.owner) == (new.key.lower(), "org-1")
            assert events_of(network.data, new.key) == 1
    assert {method: lossy.calls[method] for method in methods} == dict.fromkeys(methods, 1)


def test_a_call_that_did_not_get_through_is_sent_again(network: Partners, certificates: Layout):
    """The server was away when it came, and is back."""
    files = certificates.client("org-1")
    with in_front_of(network.address, files.credentials(), {}) as (address, lossy):
        through, calls = lossy.pass_on, Counter[str]()

        def pass_on(path: str, body: bytes, context: object) -> bytes:
            calls[path] += 1
            if path.endswith("RegisterFunction") and calls[path] < 3:
                lossy.losses["RegisterFunction"] = calls[path]
                return b""
            return through(path, body, context)

        lossy.pass_on = pass_on
        with Client(address, "org-1", network.channel) as client:
            assert client.register(assets(network)[0]).owner == "org-1"
    assert calls["/orchestrator.FunctionService/RegisterFunction"] == 3


def test_an_organization_is_registered_once(network: Partners, certificates: Layout):
    channel = "channel-199"
    with Client(network.address, "org-1", channel, certificates.client("org-1")) as client:
        assert client.register(pb.RegisterOrganizationParam()).id == "org-1"
    files = certificates.client("org-2").credentials()
    new = pb.RegisterOrganizationParam(address="https://org-2")
    with (
        in_front_of(network.address, files, {"RegisterOrganization": 1}) as (address, _),
        Client(address, "org-2", channel) as client,
    ):
        assert client.register(new).address == "https://org-2"
        with pytest.raises(CallError, match="OE0006"):
            client.register(new)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"metadata": {"a": "another"}},
        {"archive": pb.Addressable(checksum="0" * 64, storage_address="http://another")},
        {"outputs": {"another": pb.FunctionOutput(kind=pb.ASSET_MODEL)}},
        {"new_permissions": pb.NewPermissions(public=True)},
        {"new_permissions": pb.NewPermissions(authorized_ids=["org-2"])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_has_its_key_and_is_something_else_is_a_refusal(
    network: Partners, certificates: Layout, change: dict[str, object]
):
    """A user must not believe that his own is there."""
    first = new_function(new_permissions=pb.NewPermissions())
    network.data.register(first)
    second = pb.NewFunction.FromString(first.SerializeToString())
    for name in change:
        second.ClearField(name)
    second.MergeFrom(pb.NewFunction(**change))
    files = certificates.client("org-1").credentials()
    with in_front_of(network.address, files, {}) as (address, lossy):
        through = lossy.pass_on

        def pass_on(path: str, body: bytes, context: object) -> bytes:
            # Its first sending is lost before it arrives.
            if path.endswith("RegisterFunction") and lossy.calls["RegisterFunction"] == 1:
                lossy.losses["RegisterFunction"] = 1
                return b""
            return through(path, body, context)

        lossy.pass_on = pass_on
        with Client(address, "org-1", network.channel) as client, pytest.raises(CallError, match="OE0006"):
            client.register(second)


def test_asyncio_registers_once(network: Partners, certificates: Layout):
    files = certificates.client("org-1").credentials()
    sample = assets(network)[2]

    async def register(address: str) -> pb.DataSample:
        async with AsyncClient(address, "org-1", network.channel) as client:
            return await client.register(sample)

    with in_front_of(network.address, files, {"RegisterDataSamples": 1}) as (address, _):
        assert asyncio.run(register(address)).key == sample.key
    assert events_of(network.data, sample.key) == 1
