"""What is no key is found when it is given, by whatever method: nothing is sent."""

import asyncio
from collections.abc import Callable

import pytest

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, Client

KEY = "0e27b6e1-eb0c-4c5e-9d0a-5b1b2a3c4d5e"

CALLS: dict[str, tuple[str, Callable[..., object]]] = {
    "plan": ("a compute plan", lambda client, key: client.plan("p", key=key)),
    "watch": ("a compute plan", lambda client, key: client.watch(key)),
    "cancel": ("a compute plan", lambda client, key: client.cancel(key)),
    "wait": ("a compute plan", lambda client, key: client.wait(key)),
    "scores": ("a compute plan", lambda client, key: client.scores(key)),
    "function": ("a function", lambda client, key: client.function(key)),
    "wait_ready": ("a function", lambda client, key: client.wait_ready(KEY, key)),
    "add_function": ("a function", lambda client, key: client.add_function("nowhere", key=key)),
    "add_dataset": ("a data set", lambda client, key: client.add_dataset("nowhere", name="n", key=key)),
    "add_samples": ("a data set", lambda client, key: client.add_samples([], key)),
    "model": ("a model", lambda client, key: client.model(key)),
    "download": ("a model", lambda client, key: client.download(key, "nowhere")),
    "log": ("a task", lambda client, key: client.log(key)),
    "explain": ("a task", lambda client, key: client.explain(key)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("key", ["nonsense", "", KEY[:-1] + "g", KEY + "0", "\x1b[2J"])
def test_what_is_no_uuid_is_refused(name: str, key: str) -> None:
    what, call = CALLS[name]
    with Client("127.0.0.1:1", "org-1", "channel") as client, pytest.raises(ValueError, match="is a UUID") as caught:
        call(client, key)
    assert str(caught.value) == f"the key of {what} is a UUID, not {key!r}"


@pytest.mark.parametrize("name", ["plan", "add_function", "add_dataset"])
def test_a_new_key_is_whole(name: str) -> None:
    what, call = CALLS[name]
    with (
        Client("127.0.0.1:1", "org-1", "channel") as client,
        pytest.raises(ValueError, match=f"the key of {what} is a UUID, not '0e27b6e1'"),
    ):
        call(client, KEY[:8])


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"plan", "function", "add_function", "add_dataset"}))
def test_an_asset_of_another_kind_is_refused(name: str) -> None:
    what, call = CALLS[name]
    with Client("127.0.0.1:1", "org-1", "channel") as client, pytest.raises(ValueError, match="is given") as caught:
        call(client, pb.Organization(id=KEY))
    assert str(caught.value) == f"{what} is given itself or by its key, not as a value of type Organization"


def test_asyncio_refuses_the_same() -> None:
    async def call(what: str, call: Callable[..., object]) -> None:
        async with AsyncClient("127.0.0.1:1", "org-1", "channel") as client:
            with pytest.raises(ValueError, match=f"the key of {what} is a UUID, not 'nonsense'"):
                await call(client, "nonsense")

    for name in sorted(CALLS.keys() - {"plan", "watch"}):
        asyncio.run(call(*CALLS[name]))
