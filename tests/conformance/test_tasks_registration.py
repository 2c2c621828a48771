"""Tasks: what `RegisterTasks` takes, in which order, with which worker and outputs."""

from random import Random

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    DATA_INPUTS,
    MODEL,
    PUBLIC,
    SCORE,
    by_key,
    by_parent,
    new_key,
    new_task,
    output,
    shared_with,
    tasks,
)
from tests.kit.organization import Organization


def test_a_task_is_registered(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = org.register_task(function, plan)
    new = new_task(
        function,
        plan,
        [parent],
        worker="org-2",
        metadata={"k": "v"},
        outputs={"model": output(shared_with("org-3"), transient=True)},
    )
    (task,) = org.send(tasks(new)).tasks
    assert task.key == new.key
    assert task.owner == "org-1"
    assert task.worker == "org-2"
    assert task.compute_plan_key == plan.key
    assert task.function_key == function.key
    assert task.metadata == {"k": "v"}
    assert task.inputs == new.inputs
    permission = pb.Permission(authorized_ids=["org-3", "org-1"])
    kept = pb.ComputeTaskOutput(permissions=pb.Permissions(process=permission, download=permission), transient=True)
    assert task.outputs == {"model": kept}
    assert org.task(task) == task


def test_a_field_that_a_task_to_register_has_not_says_nothing_of_the_task(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    new, expected = new_task(function, plan, metadata={"k": "v"}), new_task(function, plan)
    claimed = pb.ComputeTask(
        rank=7, status=pb.STATUS_DONE, logs_permission=pb.Permission(public=True), function_key=new_key()
    )
    new.MergeFromString(claimed.SerializeToString())
    task, other = org.send(tasks(new, expected)).tasks
    other.key, other.metadata["k"] = task.key, "v"
    assert task == other
    assert org.task(task) == task


def test_no_tasks_are_refused(org: Organization):
    org.refused(tasks(), "OE0003")


def test_a_key_that_exists_is_a_conflict(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan)
    org.refused(tasks(new_task(function, plan), new_task(function, plan, key=task.key)), "OE0006")


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_cycle_is_refused(org: Organization, plan: pb.ComputePlan, function: pb.Function, length: int):
    keys = [new_key() for _ in range(length)]
    chain = [new_task(function, plan, [keys[i - 1]], key=keys[i]) for i in range(1, length)]
    org.refused(tasks(*chain, new_task(function, plan, [keys[-1]], key=keys[0])), "OE0101")
    org.send(tasks(*chain, new_task(function, plan, key=keys[0])))


def test_an_unknown_parent_is_refused(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    org.refused(tasks(new_task(function, plan, [new_key()])), "OE0101")
    org.refused(tasks(new_task(function, plan, ["no key"])), "OE0101")


def test_the_plan_is_the_callers(org: Organization, other: Organization, function: pb.Function):
    mine, theirs = org.register_plan(), other.register_plan()
    org.refused(tasks(new_task(function, theirs)), "OE0102")
    org.refused(tasks(new_task(function, mine), new_task(function, theirs)), "OE0102")
    org.refused(tasks(new_task(function, new_key())), "OE0002")
    org.send(tasks(new_task(function, mine)))


def test_the_function_exists_and_is_processable_by_the_caller(
    org: Organization, other: Organization, third: Organization, plan: pb.ComputePlan
):
    unknown = pb.Function(key=new_key(), outputs={"model": MODEL})
    org.refused(tasks(new_task(unknown, plan)), "OE0002")
    shared = other.register_function(new_permissions=shared_with("org-1"))
    org.send(tasks(new_task(shared, plan)))
    third.refused(tasks(new_task(shared, third.register_plan())), "OE0102")
    org.refused(tasks(new_task(other.register_function(new_permissions=shared_with()), plan)), "OE0102")


def test_without_data_the_worker_is_the_given_one(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    assert org.register_task(function, plan, worker="org-3").worker == "org-3"
    org.refused(tasks(new_task(function, plan, worker="")), "OE0003")
    org.refused(tasks(new_task(function, plan, worker="org-4")), "OE0002")


def test_an_organization_that_has_not_registered_is_no_worker(bare: dict[str, Organization]):
    org = bare["org-1"]
    org.send(pb.RegisterOrganizationParam())
    function, plan = org.register_function(), org.register_plan()
    org.send(tasks(new_task(function, plan, worker="org-1")))
    org.refused(tasks(new_task(function, plan, worker="org-2")), "OE0002")


def test_with_data_the_worker_is_the_owner_of_the_data_manager(
    org: Organization, other: Organization, plan: pb.ComputePlan
):
    manager = other.register_data_manager()
    inputs = [by_key("opener", manager), by_key("samples", other.register_data_sample(manager))]
    function = org.register_function(inputs=DATA_INPUTS)
    for given in ("", "org-2"):
        assert org.register_task(function, plan, inputs=inputs, worker=given).worker == "org-2"
    for given in ("org-1", "org-3", "org-4"):
        org.refused(tasks(new_task(function, plan, inputs=inputs, worker=given)), "OE0003")


def test_outputs_are_exactly_those_that_the_function_declares(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(outputs={"model": MODEL, "score": SCORE})
    org.send(tasks(new_task(function, plan)))
    for outputs in (
        {},
        {"model": output()},
        {"score": output()},
        {"model": output(), "score": output(), "more": output()},
        {"model": output(), "Score": output()},
    ):
        org.refused(tasks(new_task(function, plan, outputs=outputs)), "OE0101")


def test_each_output_has_permissions(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    org.send(tasks(new_task(function, plan, outputs={"model": output(pb.NewPermissions())})))
    without = pb.NewComputeTaskOutput(transient=True)
    org.refused(tasks(new_task(function, plan, outputs={"model": without})), "OE0101")


def test_a_performance_is_public_and_not_transient(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(outputs={"score": SCORE})
    for score in (
        output(shared_with("org-2")),
        output(PUBLIC, transient=True),
        output(shared_with("org-1", "org-2", "org-3")),
    ):
        org.refused(tasks(new_task(function, plan, outputs={"score": score})), "OE0101")
    org.send(tasks(new_task(function, plan, outputs={"score": output(PUBLIC)})))


def test_rank_is_one_more_than_the_highest_rank_of_the_parents(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    first = new_task(function, plan)
    second = new_task(function, plan, [first])
    third = new_task(function, plan, [second, first])
    ranks = {task.key: task.rank for task in org.send(tasks(third, second, first)).tasks}
    assert ranks == {first.key: 0, second.key: 1, third.key: 2}
    assert org.register_task(function, plan, [third, first]).rank == 3
    assert org.register_task(function, plan).rank == 0


def test_a_task_may_take_the_same_parent_twice(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = org.register_task(function, plan)
    child = org.register_task(function, plan, [parent, parent])
    assert child.rank == 1
    org.complete(parent)
    assert org.status(child) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


def test_tasks_come_in_any_order_and_go_parents_before_children(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    random = Random(7)
    batch: list[pb.NewComputeTask] = []
    for _ in range(60):
        parents = random.sample(batch, min(len(batch), random.randrange(4)))
        batch.append(new_task(function, plan, parents))
    random.shuffle(batch)
    registered = org.send(tasks(*batch)).tasks
    check_parents_first(list(registered), len(batch))
    events = org.events(asset_kind=pb.ASSET_COMPUTE_TASK, event_kind=pb.EVENT_ASSET_CREATED)
    assert [event.compute_task for event in events] == list(registered)
    stream = org.subscribe()
    streamed = [next(stream) for _ in range(len(org.events()))]
    stream.cancel()
    assert [event for event in streamed if event.asset_kind == pb.ASSET_COMPUTE_TASK] == events


def test_a_chain_of_a_thousand_tasks_in_one_call(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    keys = [new_key() for _ in range(1000)]
    chain = [new_task(function, plan, keys[max(i - 1, 0) : i], key=keys[i]) for i in range(1000)]
    Random(7).shuffle(chain)
    registered = org.send(tasks(*chain)).tasks
    assert [task.key for task in registered] == keys
    assert [task.rank for task in registered] == list(range(1000))


def check_parents_first(registered: list[pb.ComputeTask], count: int) -> None:
    place = {task.key: index for index, task in enumerate(registered)}
    assert len(place) == len(registered) == count
    for task in registered:
        for reference in task.inputs:
            assert place[reference.parent_task_output.parent_task_key] < place[task.key]


def test_a_parent_may_belong_to_an_earlier_call(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    before = org.register_task(function, plan)
    middle = new_task(function, plan, [before])
    last = new_task(function, plan, inputs=[by_parent("models", middle), by_parent("models", before)])
    registered = org.send(tasks(last, middle)).tasks
    assert [(task.key, task.rank) for task in registered] == [(middle.key, 1), (last.key, 2)]
