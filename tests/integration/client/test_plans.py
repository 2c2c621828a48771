"""Plans that are built, submitted, watched and cancelled through the SDK, on a real server."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.calls.parts import LARGEST_PART
from orchestrator.client import AsyncClient, CallError, Client, Event, PlanError
from orchestrator.client.connection import new_watch
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.partners import ORGANIZATIONS, Partners, extend, new_database, opened, register
from tests.kit.servers import serving

from .lossy import in_front_of


def tasks_of(client: Client, plan: str) -> list[pb.ComputeTask]:
    wanted = pb.QueryTasksParam(page_size=1000, filter=pb.TaskQueryFilter(compute_plan_key=plan))
    return list(client.tasks.QueryTasks(wanted).tasks)


def trace(events: list[Event], plan: str) -> list[str]:
    """What happened to the plan and its tasks."""
    return [
        "plan" if isinstance(event.asset, pb.ComputePlan) else pb.ComputeTaskStatus.Name(event.asset.status)
        for event in events
        if isinstance(event.asset, pb.ComputePlan | pb.ComputeTask)
    ]


def test_a_plan_is_submitted_whole_and_extended_in_batches(network: Partners):
    plan = network.data.plan("plan", tag="tag", metadata={"a": "b"})
    extend(plan, network, rounds=3)
    plan.submit()
    registered = network.data.plans.GetPlan(pb.GetComputePlanParam(key=plan.key))
    assert (registered.name, registered.tag, dict(registered.metadata)) == ("plan", "tag", {"a": "b"})
    tasks = {task.key: task for task in tasks_of(network.data, plan.key)}
    assert [tasks[task.key].rank for task in plan.tasks] == [0, 1, 2, 3, 4, 5, 6]
    assert tasks[plan.tasks[1].key].worker == "org-2"

    plan.submit()
    assert len(tasks_of(network.data, plan.key)) == 7
    extend(plan, network, rounds=1)
    plan.submit(batch=2)
    assert len(tasks_of(network.data, plan.key)) == 10


def test_a_function_is_asked_for_by_its_key_and_once(network: Partners):
    plan = network.data.plan("plan")
    task = plan.train(function=network.train.key, data_manager=network.manager, data_samples=[network.sample])
    assert set(task.outputs) == {"model"}
    assert network.data.function(network.train.key) is network.data.function(network.train.key)
    with pytest.raises(CallError, match="OE0002"):
        plan.train(function=plan.key, data_manager=network.manager, data_samples=[network.sample])


def test_a_plan_that_is_refused_leaves_nothing_and_may_be_mended(network: Partners):
    plan = network.plan(rounds=1)
    right = pb.NewComputeTask.FromString(plan.tasks[2].message.SerializeToString())
    plan.tasks[2].message.inputs[0].asset_key = plan.key
    for _ in range(2):
        with pytest.raises(CallError, match=f"task {plan.tasks[2].key}: data manager .* does not exist"):
            plan.submit()
        with pytest.raises(CallError, match="OE0002"):
            network.data.plans.GetPlan(pb.GetComputePlanParam(key=plan.key))
    plan.tasks[2].message.CopyFrom(right)
    plan.submit()
    assert len(tasks_of(network.data, plan.key)) == 3
    with pytest.raises(ValueError, match="1 task or more, not 0"):
        plan.submit(batch=0)


def test_another_plan_under_a_key_is_a_conflict(network: Partners):
    plan = network.plan()
    plan.submit()
    other = extend(network.data.plan("plan", tag="tag", key=plan.key.upper()), network, rounds=1)
    with pytest.raises(CallError, match=f"another content: task {other.tasks[0].key} is not in it") as caught:
        other.submit()
    assert caught.value.oe_code == "OE0006"


def test_a_plan_of_more_bytes_than_a_part_may_have_is_submitted(network: Partners):
    sample_keys = [str(uuid.UUID(int=number, version=4)) for number in range(1500)]
    new = [pb.NewDataSample(key=key, data_manager_keys=[network.manager], checksum="0" * 64) for key in sample_keys]
    network.data.data_samples.RegisterDataSamples(pb.RegisterDataSamplesParam(samples=new))
    plan = network.data.plan("plan")
    for _ in range(60):
        plan.train(function=network.train, data_manager=network.manager, data_samples=sample_keys)
    assert sum(task.message.ByteSize() for task in plan.tasks) > LARGEST_PART
    plan.submit()
    wanted = pb.QueryTasksParam(page_size=1, filter=pb.TaskQueryFilter(compute_plan_key=plan.key))
    assert len(network.data.tasks.QueryTasks(wanted).tasks[0].inputs) == 1501
    network.data.cancel(plan)


WITHOUT_OURS = ["/orchestrator.SubmissionService/SubmitPlan"]


def test_lost_answers_register_and_cancel_nothing_twice(network: Partners, certificates: Layout):
    losses = {"SubmitPlan": 2, "ApplyPlanAction": 1, "GetPlan": 1}
    credentials = certificates.client("org-1").credentials()
    with (
        in_front_of(network.address, credentials, losses) as (proxy, lossy),
        Client(proxy, "org-1", network.channel) as client,
    ):
        plan = extend(client.plan("plan"), network, rounds=2)
        plan.submit()
        assert lossy.calls["SubmitPlan"] == 3
        assert len(tasks_of(network.data, plan.key)) == 5
        client.cancel(plan)
        assert lossy.calls["ApplyPlanAction"] == 1
        with pytest.raises(CallError, match="OE0109"):
            client.cancel(plan)
    assert {task.status for task in tasks_of(network.data, plan.key)} == {pb.STATUS_CANCELED}


def test_an_orchestrator_of_before_is_sent_the_plan_and_then_batches(network: Partners, certificates: Layout):
    losses = {"RegisterPlan": 1, "RegisterTasks": 2, "GetTask": 1}
    credentials = certificates.client("org-1").credentials()
    with (
        in_front_of(network.address, credentials, losses, WITHOUT_OURS) as (proxy, lossy),
        Client(proxy, "org-1", network.channel) as client,
    ):
        plan = extend(client.plan("plan"), network, rounds=2)
        plan.submit(batch=2)
        assert (lossy.calls["SubmitPlan"], lossy.calls["RegisterPlan"], lossy.calls["RegisterTasks"]) == (1, 1, 3)
        assert len(tasks_of(network.data, plan.key)) == 5
    # What came so is the same content.
    again = network.data.plan("plan", key=plan.key)
    again.tasks = list(plan.tasks)
    again.submit()
    assert len(tasks_of(network.data, plan.key)) == 5


def test_a_plan_is_submitted_again_after_the_server_was_away_for_long(
    network: Partners, certificates: Layout, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("orchestrator.client.steps._ATTEMPTS", 1)
    # The question whether the tasks are there is not answered either, however often gRPC repeats it.
    of_before = {"RegisterTasks": 1, "GetTask": 5}
    credentials = certificates.client("org-1").credentials()
    for losses, unknown in (({"SubmitPlan": 1}, []), (of_before, WITHOUT_OURS)):
        with (
            in_front_of(network.address, credentials, losses, unknown) as (proxy, lossy),
            Client(proxy, "org-1", network.channel) as client,
        ):
            plan = extend(client.plan("plan"), network, rounds=2)
            with pytest.raises(CallError) as caught:
                plan.submit(batch=3)
            assert caught.value.lost
            extend(plan, network, rounds=1)
            plan.submit()
            assert lossy.calls["SubmitPlan"] == (1 if unknown else 2)
        assert len(tasks_of(network.data, plan.key)) == 8


def test_a_watch_begins_while_the_server_is_away(network: Partners, certificates: Layout):
    plan = network.plan()
    plan.submit()
    network.complete(plan)
    # Once more than gRPC repeats them.
    losses = {"GetPlan": 6, "QueryEvents": 6}
    credentials = certificates.client("org-1").credentials()
    with (
        in_front_of(network.address, credentials, losses) as (proxy, lossy),
        Client(proxy, "org-1", network.channel) as client,
    ):
        events = client._run(new_watch(plan, patience=30).begin())
    assert trace(events, plan.key) == ["plan"]
    assert lossy.calls == {"GetPlan": 7, "QueryEvents": 7}


def test_a_watch_tells_all_from_the_beginning_to_the_end(network: Partners):
    plan, other = network.plan(), network.plan(name="other")
    plan.submit()
    other.submit()
    watch = new_watch(plan, patience=10)
    events = network.data.follow(watch)
    seen = [next(events) for _ in range(4)]
    assert trace(seen, plan.key) == [
        "plan",
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_PARENT_TASKS",
    ]
    network.complete(other)
    network.complete(plan)
    seen += events
    assert watch.progress.state == "Done"
    models = [event.asset for event in seen if isinstance(event.asset, pb.Model)]
    assert [model.compute_task_key for model in models] == [task.key for task in plan.tasks[:2]]
    (score,) = [event.asset for event in seen if isinstance(event.asset, pb.Performance)]
    assert score.performance_value == 0.5
    assert trace(seen, plan.key)[-1] == "STATUS_DONE"
    assert [event.id for event in network.hub.watch(plan.key)] == [event.id for event in seen]


def test_a_watch_ends_when_the_plan_is_cancelled(network: Partners):
    plan = network.plan()
    plan.submit()
    network.data.cancel(plan)
    watch = new_watch(plan.key, patience=10)
    events = list(network.data.follow(watch))
    assert watch.progress.state == "Cancelled"
    assert trace(events, plan.key)[-4:] == ["plan", *["STATUS_CANCELED"] * 3]
    assert "cancelled by its owner" in events[-1].reason


def test_a_watch_ends_when_the_plan_has_failed(network: Partners):
    plan = network.plan()
    plan.submit()
    network.fail(plan.tasks[0].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    watch = new_watch(plan, patience=10)
    events = list(network.data.follow(watch))
    assert watch.progress.state == "Failed"
    assert trace(events, plan.key)[-2:] == ["STATUS_FAILED", "plan"]
    assert any(isinstance(event.asset, pb.FailureReport) for event in events)


def test_a_plan_that_does_not_exist_is_not_watched(network: Partners):
    with pytest.raises(CallError, match="OE0002"):
        next(network.data.watch("11111111-1111-1111-1111-111111111111"))


def test_a_watch_goes_on_after_the_server_was_restarted(postgres: Postgres, tmp_path: Path):
    channels = {"channel": [*ORGANIZATIONS]}
    database, address = new_database(postgres), f"127.0.0.1:{free_port()}"
    with opened(address, "channel", None) as network, ThreadPoolExecutor(1) as threads:
        with serving(tmp_path, database, channels, address=address):
            register(network)
            plan = network.plan(rounds=2)
            plan.submit()
            events = network.data.watch(plan, patience=60)
            seen = [next(events) for _ in range(6)]
            network.do(plan.tasks[0].key)
            seen.append(next(events))
            rest = threads.submit(list, events)
        with serving(tmp_path, database, channels, address=address):
            network.complete(plan)
            seen += rest.result(timeout=60)
            assert [event.id for event in seen] == [event.id for event in network.data.watch(plan)]
            assert seen[-1].asset.status == pb.STATUS_DONE
        with pytest.raises(CallError) as caught:
            list(network.data.watch(plan, patience=0))
        assert caught.value.lost


def test_asyncio_does_the_same(network: Partners, certificates: Layout):
    async def play() -> list[Event]:
        async with AsyncClient(network.address, "org-1", network.channel, certificates.client("org-1")) as client:
            plan = client.plan("asynchronous")
            with pytest.raises(PlanError, match="is not known yet"):
                plan.train(function=network.train.key, data_manager=network.manager, data_samples=[network.sample])
            await client.function(network.train.key)
            plan.train(function=network.train.key, data_manager=network.manager, data_samples=[network.sample])
            await plan.submit()
            with pytest.raises(CallError, match="OE0006"):
                await client.plan("another", key=plan.key).submit()
            with pytest.raises(CallError, match="OE0002"):
                await client.function(plan.key)
            seen = []
            async for event in client.watch(plan):
                seen.append(event)
                if len(seen) == 2:
                    await client.cancel(plan)
            return seen

    events = asyncio.run(play())
    assert trace(events, "") == ["plan", "STATUS_WAITING_FOR_EXECUTOR_SLOT", "plan", "STATUS_CANCELED"]


def test_an_asyncio_watch_goes_on_after_the_server_was_restarted(postgres: Postgres, tmp_path: Path):
    channels = {"channel": [*ORGANIZATIONS]}
    database, address = new_database(postgres), f"127.0.0.1:{free_port()}"

    async def watch(plan: str, begun: asyncio.Event) -> list[Event]:
        seen = []
        async with AsyncClient(address, "org-1", "channel") as client:
            async for event in client.watch(plan, patience=60):
                seen.append(event)
                begun.set()
        return seen

    async def play(network: Partners) -> None:
        begun = asyncio.Event()
        with serving(tmp_path, database, channels, address=address):
            await asyncio.to_thread(register, network)
            plan = network.plan()
            plan.submit()
            watching = asyncio.create_task(watch(plan.key, begun))
            await asyncio.wait_for(begun.wait(), 30)
        with serving(tmp_path, database, channels, address=address):
            await asyncio.to_thread(network.complete, plan)
            seen = await asyncio.wait_for(watching, 60)
            assert [event.id for event in seen] == [event.id for event in network.data.watch(plan)]

    with opened(address, "channel", None) as network:
        asyncio.run(play(network))
