"""`plan.wait()`: it returns when the plan is Done, and tells why where it will never be."""

import asyncio
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, CallError, PlanEndedError
from orchestrator.client.display import bar
from orchestrator.client.watching import new_watch
from orchestrator.embedded.certificates import Layout
from tests.kit.partners import Partners

NOBODY = "00000000-0000-0000-0000-000000000000"


@contextmanager
def done_meanwhile(network: Partners, plan) -> Iterator[None]:
    """Let the plan's tasks be done while the block waits."""
    thread = threading.Thread(target=network.complete, args=(plan,))
    thread.start()
    yield
    thread.join(30)


def test_it_returns_when_the_plan_is_done(network: Partners, capfd: pytest.CaptureFixture[str]) -> None:
    plan = network.plan()
    plan.submit()
    with done_meanwhile(network, plan):
        assert plan.wait() == "Done"
    # By another, by its key or as a message, and after it has ended.
    for given in (plan.key.upper(), pb.ComputePlan(key=plan.key)):
        assert network.hub.wait(given, bar=False) == "Done"
    assert capfd.readouterr() == ("", ""), "no terminal, no bar"


def test_a_failure_is_told_with_its_reason_and_the_next_step(network: Partners) -> None:
    plan = network.plan()
    plan.submit()
    broken = plan.tasks[0].key
    address = pb.Addressable(checksum="0" * 64, storage_address=f"https://store.example/logs/{broken}")
    network.fail(broken, pb.NewFailureReport(error_type=pb.ERROR_TYPE_EXECUTION, logs_address=address))
    with pytest.raises(PlanEndedError) as caught:
        plan.wait()
    assert str(caught.value) == (
        f"compute plan 'plan' ({plan.key}) failed: task {broken[:8]} (train, rank 0) failed: EXECUTION error at org-1\n"
        f"Read all of its log with `orchestrator task logs {broken[:8]}`, or `client.log(task)`\n"
        f"See all of it with `orchestrator plan show {plan.key[:8]}`; what is Done is reused by "
        f"`orchestrator plan retry {plan.key[:8]}`, or `client.retry(plan)`"
    )
    assert caught.value.progress.state == "Failed"
    assert [task.key for task in caught.value.failed] == [broken]


def test_a_cancelled_plan_is_told(network: Partners) -> None:
    plan = network.plan()
    plan.submit()
    network.do(plan.tasks[0].key)
    network.data.cancel(plan)
    with pytest.raises(
        PlanEndedError, match="was cancelled, with 1 of 3 tasks Done, 2 Cancelled\nSee all of it"
    ) as caught:
        plan.wait()
    assert caught.value.progress.state == "Cancelled"


def test_its_time_is_over_while_the_plan_goes_on(network: Partners) -> None:
    plan = network.plan()
    plan.submit()
    network.do(plan.tasks[0].key)
    waits = f"Task {plan.tasks[1].key[:8]} at org-2: .* org-2 "
    for seconds in (0.0, 0.2):
        late = rf"{plan.key} has not ended after {seconds:g} s: .*; it goes on"
        with pytest.raises(TimeoutError, match=late) as caught:
            plan.wait(timeout=seconds)
        assert re.search(waits, str(caught.value)) or not seconds, caught.value
    network.complete(plan)
    assert plan.wait(timeout=30) == "Done"


def test_what_is_not_there_is_not_waited_for(network: Partners) -> None:
    with pytest.raises(CallError, match="OE0002"):
        network.plan().wait()
    with pytest.raises(ValueError, match="the key of a compute plan is a UUID, not 'nonsense'"):
        network.data.wait("nonsense")


def test_asyncio_waits_too(network: Partners, certificates: Layout) -> None:
    async def play() -> str:
        async with AsyncClient(network.address, "org-1", network.channel, certificates.client("org-1")) as client:
            plan = client.plan("asynchronous")
            data = {"data_manager": network.manager, "data_samples": [network.sample]}
            first = plan.train(function=network.train, **data)
            plan.test(function=network.test, **data, model=first)
            await plan.submit()
            with pytest.raises(TimeoutError, match="0 of 2 tasks Done"):
                await plan.wait(timeout=0.2)
            ended, _ = await asyncio.gather(plan.wait(), asyncio.to_thread(network.complete, plan))
            broken = client.plan("broken")
            broken.train(function=network.train, **data)
            await broken.submit()
            await client.cancel(broken)
            with pytest.raises(PlanEndedError, match="was cancelled"):
                await broken.wait()
            return ended

    assert asyncio.run(play()) == "Done"


def test_a_terminal_sees_a_bar_and_what_is_measured(network: Partners) -> None:
    plan = network.plan()
    plan.submit()
    network.complete(plan)
    written = io.StringIO()
    watch = new_watch(plan, patience=10)
    shown = bar(watch, Console(file=written, width=100, force_terminal=True))
    assert shown is not None
    with shown as update:
        for event in network.data.follow(watch):
            update(event)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert re.search(r"plan ━+ Done 3 +0:00:\d\d", text), text
    assert f"task {plan.tasks[2].key[:8]} auc = 0.5" in text
    assert bar(watch, Console(file=io.StringIO())) is None
