"""Every call is one transaction, also when many clients call at once: one wins, the others are told why not."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random
from typing import Any

import grpc

from orchestrator import protos as pb
from tests.kit.messages import models, new_data_manager, new_key, new_model, new_plan, new_task, task_failure, tasks
from tests.kit.organization import Organization, task_action

CLIENTS = 8


def outcomes(calls: list[Callable[[], Any]]) -> Counter[str]:
    """Make the calls at once, and count their error codes; OK is success."""

    def outcome(call: Callable[[], Any]) -> str:
        try:
            call()
        except grpc.RpcError as error:
            return error.details()[:6]
        return "OK"

    with ThreadPoolExecutor(CLIENTS) as threads:
        return Counter(threads.map(outcome, calls))


def test_one_of_many_registers_a_key(org: Organization, elsewhere: Organization):
    for make in (new_plan, new_data_manager):
        key = new_key()
        calls = [
            lambda where=where, make=make, key=key: where.send(make(key=key))
            for where in (org, elsewhere)
            for _ in range(CLIENTS)
        ]
        assert outcomes(calls) == {"OK": 1, "OE0006": 2 * CLIENTS - 1}


def test_one_of_many_registers_an_organization(bare: dict[str, Organization]):
    request = pb.RegisterOrganizationParam()
    calls = [lambda: bare["org-1"].send(request)] * CLIENTS
    assert outcomes(calls) == {"OK": 1, "OE0006": CLIENTS - 1}


def test_one_of_many_starts_a_task(org: Organization):
    task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT")
    assert outcomes([lambda: org.start(task)] * CLIENTS) == {"OK": 1, "OE0104": CLIENTS - 1}
    assert len(org.events(asset_key=task.key, event_kind=pb.EVENT_ASSET_UPDATED)) == 1


def test_one_of_many_endings_wins(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    org.register_model(task)
    actions = [pb.TASK_ACTION_DONE, pb.TASK_ACTION_FAILED, pb.TASK_ACTION_CANCELED] * 3
    seen = outcomes([lambda action=action: org.act(task, action) for action in actions])
    assert seen == {"OK": 1, "OE0104": len(actions) - 1}
    assert len(org.events(asset_key=task.key, event_kind=pb.EVENT_ASSET_UPDATED)) == 2


def test_one_of_many_registers_the_single_model(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    assert outcomes([lambda: org.register_model(task)] * CLIENTS) == {"OK": 1, "OE0006": CLIENTS - 1}
    assert len(org.send(pb.GetComputeTaskModelsParam(compute_task_key=task.key)).models) == 1


def test_one_of_many_reports_a_failure(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    seen = outcomes([lambda: org.send(task_failure(task))] * CLIENTS)
    assert seen["OK"] == 1
    assert set(seen) <= {"OK", "OE0003", "OE0104", "OE0006", "OE0110"}


def test_one_of_many_cancels_a_plan(org: Organization, plan: pb.ComputePlan):
    org.task_in("STATUS_WAITING_FOR_PARENT_TASKS", plan)
    assert outcomes([lambda: org.cancel_plan(plan)] * CLIENTS) == {"OK": 1, "OE0109": CLIENTS - 1}
    assert len(org.events(asset_key=plan.key, event_kind=pb.EVENT_ASSET_UPDATED)) == 1


def test_the_last_of_many_parents_moves_the_child_once(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parents = [new_task(function, plan) for _ in range(CLIENTS * 2)]
    child = new_task(function, plan, parents)
    org.send(tasks(child, *parents))
    assert outcomes([lambda parent=parent: org.complete(parent) for parent in parents]) == {"OK": len(parents)}
    (event,) = org.events(asset_key=child.key, event_kind=pb.EVENT_ASSET_UPDATED)
    assert event.compute_task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT


def test_children_registered_while_their_parent_ends_all_move(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    for _ in range(5):
        parent = org.register_task(function, plan)
        org.start(parent)
        org.register_model(parent)
        children = [new_task(function, plan, [parent]) for _ in range(CLIENTS)]
        calls: list[Callable[[], Any]] = [lambda child=child: org.send(tasks(child)) for child in children]
        calls.insert(CLIENTS // 2, lambda parent=parent: org.act(parent, pb.TASK_ACTION_DONE))
        assert outcomes(calls) == {"OK": CLIENTS + 1}
        assert {org.status(child) for child in children} == {"STATUS_WAITING_FOR_EXECUTOR_SLOT"}


def test_tasks_registered_while_their_function_is_built_all_move(org: Organization, plan: pb.ComputePlan):
    for _ in range(5):
        function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
        new = [new_task(function, plan) for _ in range(CLIENTS)]
        calls: list[Callable[[], Any]] = [lambda task=task: org.send(tasks(task)) for task in new]
        calls.insert(CLIENTS // 2, lambda function=function: org.act_on_function(function, pb.FUNCTION_ACTION_READY))
        assert outcomes(calls) == {"OK": CLIENTS + 1}
        assert {org.status(task) for task in new} == {"STATUS_WAITING_FOR_EXECUTOR_SLOT"}


def test_many_writers_in_one_plan(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    """Whatever comes in between, a call ends with success or with a code that says why not."""
    random = Random(7)
    parents = [new_task(function, plan) for _ in range(10)]
    children = [new_task(function, plan, random.sample(parents, 3)) for _ in range(20)]
    org.send(tasks(*parents, *children))
    calls: list[Callable[[], Any]] = [lambda task=task: org.complete(task) for task in parents]
    calls += [lambda: org.send(tasks(new_task(function, plan, random.sample(parents, 2)))) for _ in range(10)]
    calls += [lambda task=task: org.send(task_action(task, pb.TASK_ACTION_FAILED)) for task in children[:5]]
    calls += [lambda task=task: org.send(task_action(task, pb.TASK_ACTION_CANCELED)) for task in children[5:9]]
    calls += [lambda task=task: org.send(models(new_model(task))) for task in parents[:5]]
    calls += [lambda: org.cancel_plan(plan)]
    random.shuffle(calls)
    assert set(outcomes(calls)) <= {"OK", "OE0003", "OE0006", "OE0104", "OE0109", "OE0110"}
    allowed = {
        (0, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
        (0, pb.STATUS_WAITING_FOR_PARENT_TASKS),
        (pb.STATUS_WAITING_FOR_PARENT_TASKS, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
        (pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING),
        (pb.STATUS_EXECUTING, pb.STATUS_DONE),
    }
    for task, history in histories(org).items():
        assert history[-1] == org.task(task).status
        for before, after in pairwise([0, *history]):
            open_before = before not in (pb.STATUS_DONE, pb.STATUS_CANCELED, pb.STATUS_FAILED)
            ended = open_before and after in (pb.STATUS_CANCELED, pb.STATUS_FAILED)
            assert ended or (before, after) in allowed, history


def histories(org: Organization) -> dict[str, list[int]]:
    """Return the statuses of each task in the order in which they were committed."""
    last = org.register_plan().key
    told: dict[str, list[int]] = {}
    stream = org.subscribe()
    for event in stream:
        if event.asset_key == last:
            break
        if event.HasField("compute_task"):
            told.setdefault(event.asset_key, []).append(event.compute_task.status)
    stream.cancel()
    return told
