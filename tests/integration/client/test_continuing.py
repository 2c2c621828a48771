"""Plans that are looked at beforehand, saved, and gone on with, through the SDK, on a real server."""

import asyncio
from pathlib import Path

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.calls.parts import LARGEST_PART
from orchestrator.client import AsyncClient, CallError, Client, PlanError
from orchestrator.embedded.certificates import Layout
from tests.kit.messages import new_function
from tests.kit.partners import Partners, extend, ready

from .lossy import in_front_of


def broken(network: Partners, rounds: int = 2):
    """A plan whose second aggregation has failed."""
    plan = network.plan(rounds)
    plan.submit()
    for task in plan.tasks[:3]:
        network.do(task.key)
    network.fail(plan.tasks[3].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    return plan


def test_a_plan_is_checked_before_it_is_sent(network: Partners):
    unbuilt = network.data.functions.RegisterFunction(new_function(name="unbuilt"))
    plan = network.plan()
    plan.task(function=unbuilt, worker="org-2")
    found = plan.check()
    assert (found.ok, found.faults) == (True, [])
    assert [wait.split(":")[0] for wait in found.waits] == [
        f"function 'unbuilt' ({unbuilt.key[:8]}) of org-1 waits to be built, and 1 task for it",
        "no worker of org-1 was heard so far",
        "no worker of org-2 was heard so far",
        f"org-2 has not run function 'average' ({network.average.key[:8]}) of org-1 yet",
        f"org-2 has not run function 'unbuilt' ({unbuilt.key[:8]}) of org-1 yet",
    ]
    assert str(found).startswith("4 tasks: nothing is wrong, 1 could begin now\nwaits: ")
    network.hub.worker.Heartbeat(pb.HeartbeatParam(node="node-1", slots=2))
    network.data.worker.Heartbeat(pb.HeartbeatParam(node="node-1"))
    assert not [wait for wait in plan.check().waits if "heard" in wait]
    plan.tasks[1].message.worker = "nobody"
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_FAILED):
        asked = pb.ApplyFunctionActionParam(function_key=unbuilt.key, action=action)
        network.data.functions.ApplyFunctionAction(asked)
    found = plan.check()
    assert not found.ok
    assert [fault.partition(" ")[0] for fault in found.faults] == ["OE0002:", "function"]
    assert "its worker 'nobody' is not registered" in found.faults[0]
    assert "could not be built: 1 task would end at once" in found.faults[1]
    assert found.document()["fault_count"] == 1
    with pytest.raises(CallError, match="OE0002"):
        network.data.plans.GetPlan(pb.GetComputePlanParam(key=plan.key))


def test_a_plan_is_retried(network: Partners):
    plan = broken(network)
    made = plan.retry()
    assert made.reused == sorted(task.key for task in plan.tasks[:3])
    assert set(made.again) == {task.key for task in plan.tasks[3:]}
    assert str(made) == (f"compute plan {made.key} is a retry of {plan.key}: 2 tasks run, 3 are reused")
    assert network.data.continuations(made).continues == made
    assert [link.compute_plan_key for link in network.data.continuations(plan).continued_by] == [made.key]
    for key in (made.again[task.key] for task in plan.tasks[3:]):
        network.do(key)
    assert list(network.data.watch(made))[-1].asset.status == pb.STATUS_DONE
    with pytest.raises(CallError, match="OE0102"):
        network.hub.retry(plan)
    with pytest.raises(CallError, match="all Done: there is nothing to run again"):
        network.data.retry(made)
    assert network.data.retry(plan, key=made.key.upper()) == made


def test_scores_of_reused_tasks_are_shown_with_their_origin(network: Partners):
    """Each is of the round that it was of in the first plan."""
    plan = network.data.plan("scored")
    models = []
    for number in (1, 2):
        models.append(
            plan.train(
                function=network.train,
                data_manager=network.manager,
                data_samples=[network.sample],
                metadata={"round": str(number)},
            )
        )
        plan.test(function=network.test, data_manager=network.manager, data_samples=[network.sample], model=models[-1])
    plan.submit()
    for task in (*plan.tasks[:2], models[1]):
        network.do(task.key)
    network.fail(plan.tasks[3].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    first = plan.retry()
    network.fail(first.again[plan.tasks[3].key], pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    second = network.data.retry(first)
    (again,) = second.again.values()
    network.do(again)
    scores = network.data.scores(second.key)
    assert [(each.round, each.task, each.origin) for each in scores] == [
        (1, plan.tasks[1].key, plan.key),
        (2, again, ""),
    ]
    assert [row[2] for row in scores.table()[1:]] == ["0.5000*", "0.5000"]
    assert repr(scores).endswith(f"* reused, measured in compute plan {plan.key}")
    assert scores.document()[0]["origin"] == plan.key
    assert [each.origin for each in plan.scores()] == [""]


def test_a_mended_function_stands_in_the_place_of_a_broken_one(network: Partners):
    plan = broken(network)
    several = {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)}
    mended = ready(network.data, "average", several, {"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)})
    made = plan.retry(replacements={network.average.key: mended}, name="mended")
    assert made.plan.name == "mended"
    task = network.data.tasks.GetTask(pb.GetTaskParam(key=made.again[plan.tasks[3].key]))
    assert task.function_key == mended.key
    rerun = network.data.rerun(plan)
    assert (rerun.kind, len(rerun.reused)) == ("a rerun", 3)


def test_a_plan_that_was_written_anew_reuses_what_has_not_changed(network: Partners):
    first = network.plan(rounds=1)
    first.submit()
    network.complete(first)
    edited = network.data.plan("one round more")
    extend(edited, network, rounds=2)
    made = network.data.rerun(first, edited=edited)
    assert (made.origin, made.key, made.reused) == (first.key, edited.key, sorted(t.key for t in first.tasks[:2]))
    assert [task.reused for task in edited.tasks] == [True, True, False, False, False]
    assert [task.key for task in edited.tasks[:2]] == [task.key for task in first.tasks[:2]]
    assert network.data.model(edited.tasks[0]).compute_task_key == first.tasks[0].key
    # It may be extended, below what is reused too.
    edited.test(
        function=network.test, data_manager=network.manager, data_samples=[network.sample], model=edited.tasks[1]
    )
    edited.submit()
    network.complete(edited)
    assert list(network.data.watch(edited))[-1].asset.status == pb.STATUS_DONE
    with pytest.raises(PlanError, match="is submitted already"):
        network.data.rerun(first, edited=edited)
    with pytest.raises(PlanError, match="nothing else is given beside it"):
        network.data.rerun(first, edited=network.plan(), name="another")


def test_lost_answers_continue_nothing_twice(network: Partners, certificates: Layout):
    plan = broken(network)
    credentials = certificates.client("org-1").credentials()
    losses = {"RetryPlan": 2, "RerunPlan": 1, "CheckPlan": 1, "GetContinuations": 1}
    with (
        in_front_of(network.address, credentials, losses) as (proxy, _),
        Client(proxy, "org-1", network.channel) as client,
    ):
        made = [client.retry(plan.key), client.rerun(plan.key)]
        assert client.check(plan).ok
        links = client.continuations(plan.key).continued_by
    assert [link.compute_plan_key for link in links] == [each.key for each in made]


def test_an_orchestrator_of_before_has_scores_without_links(network: Partners, certificates: Layout):
    plan = network.plan()
    plan.submit()
    network.complete(plan)
    credentials = certificates.client("org-1").credentials()
    unknown = [f"/orchestrator.SubmissionService/{method}" for method in ("GetContinuations", "RetryPlan")]
    with (
        in_front_of(network.address, credentials, {}, unknown) as (proxy, _),
        Client(proxy, "org-1", network.channel) as client,
    ):
        assert len(client.scores(plan.key)) == 1
        with pytest.raises(CallError) as caught:
            client.retry(plan.key)
        assert caught.value.status is grpc.StatusCode.UNIMPLEMENTED


def test_a_plan_is_saved_and_loaded(network: Partners, tmp_path: Path):
    plan, file = network.plan(rounds=2), tmp_path / "plan.json"
    plan.save(file)
    loaded = network.data.load(file)
    assert (loaded.key, loaded.message) == (plan.key, plan.message)
    assert [task.message for task in loaded.tasks] == [task.message for task in plan.tasks]
    assert loaded.check().ok
    loaded.submit()
    plan.submit()
    for content in ("", "[]", "{}", '{"plan": {"key": 1}, "tasks": []}', '{"plan": {}, "tasks": [1]}', "\ud800"):
        file.write_bytes(content.encode(errors="surrogatepass"))
        with pytest.raises(PlanError, match="holds no compute plan"):
            network.data.load(file)


def test_asyncio_does_the_same(network: Partners, certificates: Layout):
    first = broken(network)

    async def play() -> None:
        async with AsyncClient(network.address, "org-1", network.channel, certificates.client("org-1")) as client:
            plan = client.plan("asynchronous")
            plan.train(function=network.train, data_manager=network.manager, data_samples=[network.sample])
            assert (await plan.check()).ok
            await plan.submit()
            with pytest.raises(CallError, match="still runs"):
                await plan.retry()
            made = await client.retry(first.key)
            rerun = await client.rerun(first.key)
            links = await client.continuations(first.key)
            assert [link.compute_plan_key for link in links.continued_by] == [made.key, rerun.key]
            assert len(await client.scores(made.key)) == 0

    asyncio.run(play())


def test_a_stream_that_breaks_off_leaves_nothing(network: Partners, certificates: Layout):
    plan = network.plan()
    head = pb.PlanHead(plan=plan.message, tasks=len(plan.tasks))
    first = pb.SubmitPlanParam(head=head, tasks=[plan.tasks[0].message])

    def breaking():
        yield first
        raise OSError("the client is gone")

    with pytest.raises(CallError):
        network.data.submissions.SubmitPlan(breaking())
    with pytest.raises(CallError, match="3 tasks were announced, and 1 came"):
        network.data.submissions.SubmitPlan(iter([first]))
    large = pb.SubmitPlanParam(tasks=[pb.NewComputeTask(worker="x" * LARGEST_PART)])
    with pytest.raises(CallError, match=f"and may have {LARGEST_PART}"):
        network.data.submissions.SubmitPlan(iter([first, large]))
    with pytest.raises(CallError, match="OE0002"):
        network.data.plans.GetPlan(pb.GetComputePlanParam(key=plan.key))
    plan.submit()
