"""Two at once, each on a connection of its own: one of them is first, and nothing is lost or done twice."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.problems import commands, graph, iterations, reporting, submitting
from tests.kit.deployment import APP, CONSTRAINTS, METADATA, MODEL, Deployment, Module, new, parts, task
from tests.kit.waiting import wait_until


@contextmanager
def held(deployment: Deployment, use_case: Any, *arguments: Any) -> Iterator[tuple[Future[Any], Callable[[], None]]]:
    """Do something, but for its commit, until it is let go."""
    done, go = Event(), Event()

    def run(transaction: Any) -> Any:
        result = use_case(transaction, *arguments)
        done.set()
        assert go.wait(60)
        return result

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(deployment.call, run)
        try:
            wait_until(lambda: done.is_set() or future.done(), 60)
            yield future, go.set
        finally:
            go.set()
        future.result(60)


def waits(deployment: Deployment, count: int = 1) -> None:
    """Wait until so many sessions wait for a lock."""
    blocked = (
        "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    wait_until(lambda: deployment.rows(blocked)[0].count >= count, 60)


def stop(deployment: Deployment, transaction: Any, command: int, task_id: pb.TaskId) -> Any:
    return commands.give(transaction, deployment.name, pb.Command(cmd_task=command, task_id=task_id))


def test_a_hundred_submits_at_once(deployment: Deployment):
    deployment.submit()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: deployment.submit().task_id.problem_id, range(100)))
    assert sorted(found) == list(range(2, 102))


def test_many_iterate_one_problem(deployment: Deployment):
    first = deployment.submit().task_id
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: deployment.iterate(first).task_id.iteration_id, range(24)))
    assert sorted(found) == list(range(2, 26))


def test_the_same_key_at_once(deployment: Deployment):
    deployment.submit()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: deployment.ask(submitting.submit, new(key="one")), range(16)))
    assert {each.task_id.problem_id for each in found} == {2}
    assert sum(not each.existed for each in found) == 1


def test_one_iterates_while_an_output_asks_for_the_next(deployment: Deployment):
    modules = deployment.modules()
    first = deployment.submit({"num_outputs": 2}).task_id
    for kind in graph.in_order()[:-1]:
        modules[kind].run()
    claimed = modules[graph.LAST].take()
    assert claimed is not None
    output = pb.CO2Footprint(extra_data=json.dumps({"num_outputs": 2}).encode()).SerializeToString()
    with held(deployment, submitting.iterate, deployment.name, first, new()) as (iterated, go):
        with ThreadPoolExecutor(1) as pool:
            completed = pool.submit(deployment.call, reporting.complete, parts(claimed.attempt, output))
            waits(deployment)
            go()
            completed.result(60)
        assert iterated.result(60).task_id == task(1, 2)
    assert deployment.get(first).next_task_id == task(1, 3)


def test_a_completion_before_a_stop(deployment: Deployment):
    module, task_id = Module(deployment, APP), deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    with held(deployment, reporting.complete, parts(claimed.attempt, b"")) as (_, go), ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(deployment.call, lambda transaction: stop(deployment, transaction, pb.STOP_TASK, task_id))
        waits(deployment)
        go()
        stopped.result(60)
    found = deployment.get(task_id)
    assert (found.state, found.stages[APP].state) == (pb.STAGE_STOPPED, pb.STAGE_SUCCEEDED)
    assert deployment.output(task_id, APP) is not None


@pytest.mark.parametrize("command", [pb.STOP_TASK, pb.RESET_TASK], ids=pb.TaskCommand.Name)
def test_a_command_before_a_completion(deployment: Deployment, command: int):
    module, task_id = Module(deployment, APP), deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    with (
        held(deployment, lambda transaction: stop(deployment, transaction, command, task_id)) as (_, go),
        ThreadPoolExecutor(1) as pool,
    ):
        completed = pool.submit(deployment.call, reporting.complete, parts(claimed.attempt, b""))
        waits(deployment)
        go()
        with pytest.raises(IncompatibleStatusError):
            completed.result(60)
    assert deployment.output(task_id, APP) is None
    expected = pb.STAGE_STOPPED if command == pb.STOP_TASK else pb.STAGE_WAITING
    assert deployment.get(task_id).stages[APP].state == expected


def test_a_completion_before_a_reset(deployment: Deployment):
    modules, task_id = deployment.modules(), deployment.submit().task_id
    claimed = modules[APP].take()
    assert claimed is not None
    with held(deployment, reporting.complete, parts(claimed.attempt, b"")) as (_, go), ThreadPoolExecutor(1) as pool:
        again = pool.submit(deployment.call, lambda transaction: stop(deployment, transaction, pb.RESET_TASK, task_id))
        waits(deployment)
        go()
        again.result(60)
    assert deployment.output(task_id, APP) is None
    deployment.finish(modules)
    assert (deployment.state(task_id), deployment.get(task_id).run) == ("SUCCEEDED", 2)


def test_a_claim_waits_for_a_stop_of_its_kind(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.submit()
    key = deployment.due(APP)[0]
    command = pb.Command(cmd_node=pb.STOP_NODE, target_node="APP_REQUIREMENTS")
    with (
        held(deployment, commands.give, deployment.name, command) as (_, go),
        ThreadPoolExecutor(1) as pool,
    ):
        claimed = pool.submit(module.claim, key)
        waits(deployment)
        go()
        with pytest.raises(IncompatibleStatusError, match="stopped"):
            claimed.result(60)


def test_all_three_inputs_at_once(deployment: Deployment):
    modules, task_id = deployment.modules(), deployment.submit().task_id
    claims = {kind: modules[kind].take() for kind in (APP, CONSTRAINTS, METADATA)}

    def complete(kind: int) -> None:
        claimed = claims[kind]
        assert claimed is not None
        modules[kind].complete(claimed.attempt)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(complete, claims))
    assert len(deployment.due(MODEL)) == 1
    deployment.finish(modules)
    assert deployment.ask(iterations.get, task_id).state == pb.STAGE_SUCCEEDED


def test_two_take_one_stage(deployment: Deployment):
    modules = [Module(deployment, APP, name) for name in ("one", "two")]
    deployment.submit()
    key = deployment.due(APP)[0]

    def claim(module: Module) -> bool:
        try:
            module.claim(key)
        except IncompatibleStatusError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, modules)) == [False, True]


def test_a_module_completes_two_at_once(deployment: Deployment):
    module = Module(deployment, APP)
    for _ in range(2):
        deployment.submit()
    claims = [module.take(), module.take()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda claimed: module.complete(claimed.attempt), claims))
    row = deployment.rows("SELECT told FROM modules")[0]
    assert row.told == pb.MODULE_IDLE
