"""The SDK takes the beginning of a key wherever it takes one of something that is there."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, CallError, PlanError
from orchestrator.embedded.certificates import Layout
from tests.kit.partners import Partners, extend

LETTERS = 12


def short(key: str) -> str:
    return key[:LETTERS].upper()


def two_alike(network: Partners) -> list[str]:
    """The keys of two plans that differ at their end alone."""
    begin = str(uuid.uuid4())[:-1]
    keys = [f"{begin}{digit}" for digit in "01"]
    for key in keys:
        extend(network.data.plan("alike", key=key), network, rounds=1).submit()
    return keys


def test_a_beginning_stands_for_the_whole_key(network: Partners):
    client = network.data
    plan = client.plan("plan")
    data = {"data_manager": short(network.manager), "data_samples": [short(network.sample)]}
    first = plan.train(function=short(network.train.key), **data)
    plan.test(function=network.test, **data, model=first)
    assert [given.asset_key for given in first.message.inputs] == [network.manager, network.sample]
    assert client.function(short(network.train.key)).key == network.train.key
    plan.submit()
    assert client.explain(short(first.key)).task == first.key
    assert client.wait_ready(short(network.train.key))[0].key == network.train.key
    assert next(iter(client.watch(short(plan.key)))).asset.key == plan.key
    network.complete(plan)
    assert client.wait(short(plan.key)) == "Done"
    assert [score.task for score in client.scores(short(plan.key))] == [plan.tasks[1].key]
    made = client.model(first)
    assert client.model(short(made.key)) == made
    assert client.continuations(short(plan.key)).continued_by == []
    changed = {short(network.train.key): client.register(changed_function(network))}
    again = client.rerun(short(plan.key), replacements=changed)
    client.cancel(short(again.key))
    assert client.retry(short(again.key)).origin == again.key


def changed_function(network: Partners) -> pb.NewFunction:
    """A function like the one that trains, of another content."""
    function = network.train
    archive = pb.Addressable(checksum="e" * 64, storage_address=function.archive.storage_address)
    return pb.NewFunction(
        key=str(uuid.uuid4()),
        name=function.name,
        description=function.archive,
        archive=archive,
        new_permissions=pb.NewPermissions(public=True),
        inputs=function.inputs,
        outputs=function.outputs,
    )


def test_what_begins_several_keys_or_none_is_told(network: Partners):
    client, alike = network.data, two_alike(network)
    begin = alike[0][:-1]
    takers: list[Callable[[str], Any]] = [
        client.wait,
        client.cancel,
        client.scores,
        client.retry,
        client.rerun,
        client.continuations,
        lambda key: list(client.watch(key)),
    ]
    for take in takers:
        with pytest.raises(
            ValueError, match=rf"several compute plans have keys that begin with '{begin}' \({alike[0]}, "
        ):
            take(begin)
        with pytest.raises(ValueError, match="no compute plan of this channel has a key that begins with 'abcdef0123'"):
            take("abcdef0123")
    with pytest.raises(PlanError, match="no function of this channel has a key that begins with 'abcdef0123'"):
        client.plan("plan").train(function="abcdef0123", data_manager=network.manager, data_samples=[network.sample])
    with pytest.raises(PlanError, match="no data set of this channel has a key that begins with 'abcdef0123'"):
        client.plan("plan").train(function=network.train, data_manager="abcdef0123", data_samples=[network.sample])
    with pytest.raises(ValueError, match="no model or task of this channel"):
        client.download("abcdef0123", "nowhere")
    with pytest.raises(ValueError, match="no task of this channel"):
        client.log("abcdef0123")
    with pytest.raises(CallError, match="OE0002"):
        client.wait(str(uuid.uuid4()))


def test_asyncio_takes_them_too(network: Partners, certificates: Layout):
    async def play() -> None:
        async with AsyncClient(network.address, "org-1", network.channel, certificates.client("org-1")) as client:
            assert (await client.function(short(network.train.key))).key == network.train.key
            plan = client.plan("asynchronous")
            data = {"data_manager": short(network.manager), "data_samples": [short(network.sample)]}
            task = plan.train(function=network.train.key[:LETTERS], **data)
            assert (await plan.check()).ok
            await plan.submit()
            assert [given.asset_key for given in task.message.inputs] == [network.manager, network.sample]
            assert (await client.explain(short(task.key))).task == task.key
            await client.cancel(short(plan.key))
            wrong = client.plan("wrong")
            wrong.train(function=network.train, data_manager="abcdef0123", data_samples=[network.sample])
            with pytest.raises(PlanError, match="no data set of this channel has a key that begins with 'abcdef0123'"):
                await wrong.submit()

    asyncio.run(play())
