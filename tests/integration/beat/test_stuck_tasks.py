"""The sweep of stuck tasks."""

from uuid import UUID

import pytest

from orchestrator import protos as pb
from orchestrator.compute import functions
from orchestrator.compute.sweeps import stuck_tasks
from orchestrator.store.sweep import Sweep
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made

NOW = after(0)


@pytest.fixture
def sweep(database) -> Sweep:
    return made(stuck_tasks, database)


def failed(network: Member, plan: pb.ComputePlan | None = None) -> UUID:
    (task,) = network.register(plan=plan)
    network.end(task, pb.TASK_ACTION_FAILED)
    return task


def cancelled(network: Member, plan: pb.ComputePlan | None = None) -> UUID:
    (task,) = network.register(plan=plan)
    network.end(task, pb.TASK_ACTION_CANCELED)
    return task


def test_a_plan_that_goes_on_is_left_alone(database, network, sweep):
    (to_do,) = network.register()
    doing, done = network.register(2)
    waiting = network.below(doing, done)
    network.claim(doing)
    network.run(done)
    before = [network.snapshot(task) for task in (to_do, doing, done, waiting)]
    assert sweep.sweep(database, NOW) == 0
    assert [network.snapshot(task) for task in (to_do, doing, done, waiting)] == before


def test_what_a_failed_plan_has_not_begun_is_cancelled(database, network, sweep):
    done, doing, to_do, paused = network.register(4)
    waiting = network.below(to_do)
    unbuilt = network.call(functions.register, messages.new_function())
    (building,) = network.register(function_key=unbuilt.key)
    network.run(done)
    held = network.claim(doing).attempt
    network.fail(network.claim(paused).attempt)
    network.send()
    (fresh,) = network.register()
    failed(network)
    every = [done, doing, to_do, paused, waiting, building, fresh]
    assert network.words(every) == ["Done", "Doing", "To do", "To do", "Waiting", "Waiting", "To do"]
    assert sweep.sweep(database, NOW) == 1
    assert network.words(every) == ["Done", "Doing", *["Cancelled"] * 5]
    for task in (to_do, paused, waiting, building, fresh):
        assert network.history(task)[-1] == ("Cancelled", "its compute plan has ended")
        assert network.row(task).due_at is None
    assert fresh not in [poke.key for poke in network.send()]
    network.complete(held, messages.new_model(str(doing)))
    assert network.word(doing) == "Done"
    assert sweep.sweep(database, NOW) == 0


def test_a_task_that_is_registered_in_a_failed_plan_is_cancelled(database, network, sweep):
    failed(network)
    (late,) = network.register()
    assert network.word(late) == "To do"
    assert sweep.sweep(database, NOW) == 1
    assert network.word(late) == "Cancelled"


def test_children_of_a_cancelled_task_are_cancelled_in_a_plan_that_goes_on(database, network, sweep):
    # A child that is born below it is Cancelled at once; this one is older.
    parent, sibling = network.register(2)
    child = network.below(parent, sibling)
    network.end(parent, pb.TASK_ACTION_CANCELED)
    assert network.word(child) == "Waiting"
    assert sweep.sweep(database, NOW) == 1
    assert network.history(child)[-1] == ("Cancelled", "a parent has failed or was cancelled")
    assert network.word(sibling) == "To do"
    assert not network.failed()
    network.run(sibling)
    assert network.words([child, sibling]) == ["Cancelled", "Done"]


def test_a_parent_that_failed_in_another_plan_is_enough(database, network, sweep):
    other = network.new_plan()
    (parent,) = network.register(plan=other)
    child = network.below(parent)
    network.end(parent, pb.TASK_ACTION_FAILED)
    assert not network.failed()
    assert sweep.sweep(database, NOW) == 1
    assert network.word(child) == "Cancelled"


def test_all_generations_are_cancelled_by_one_sweep(database, network, sweep):
    (root,) = network.register()
    chain = [network.below(root)]
    for _ in range(20):
        chain.append(network.below(chain[-1]))
    (apart,) = network.register()
    joined = network.below(chain[-1], apart)
    network.end(root, pb.TASK_ACTION_CANCELED)
    assert sweep.sweep(database, NOW) == 1
    assert network.words([*chain, joined]) == ["Cancelled"] * 22
    assert network.word(apart) == "To do"
    assert sweep.sweep(database, NOW) == 0


def test_a_plan_that_was_cancelled_has_nothing_left(database, network, sweep):
    tasks = network.register(2)
    tasks.append(network.below(*tasks))
    network.cancel()
    assert network.words(tasks) == ["Cancelled"] * 3
    assert sweep.sweep(database, NOW) == 0


def several(network: Member, count: int):
    """Plans that failed, each with a task that is left."""
    left = []
    for _ in range(count):
        plan = network.new_plan()
        left += network.register(plan=plan)
        failed(network, plan)
    return left


def test_a_batch_is_bounded_and_a_sweep_takes_all(database, network, sweep):
    left = several(network, 5)
    assert sweep.run(database, NOW, sweep.batch) == 2
    assert network.words(left).count("Cancelled") == 2
    assert sweep.sweep(database, NOW) == 3
    assert network.words(left) == ["Cancelled"] * 5


def test_two_sweeps_at_once_cancel_each_task_once(database, network, sweep):
    left = several(network, 10)
    at_once(*[lambda: sweep.sweep(database, NOW)] * 2)
    sweep.sweep(database, NOW)
    for task in left:
        assert [word for word, _ in network.history(task)] == ["To do", "Cancelled"]


def test_a_locked_plan_is_passed_over(database, network, sweep):
    held, free = network.new_plan(), network.new_plan()
    tasks = [*network.register(plan=held), *network.register(plan=free)]
    failed(network, held)
    failed(network, free)
    with network.locked("compute_plans", "key = CAST(:key AS uuid)", key=held.key):
        assert sweep.sweep(database, NOW) == 1
        assert network.words(tasks) == ["To do", "Cancelled"]
    assert sweep.sweep(database, NOW) == 1
    assert network.words(tasks) == ["Cancelled", "Cancelled"]


def test_channels_are_kept_apart(database, network, sweep):
    other = Member(database, channel="other")
    cancelled(network)
    (left,) = other.register()
    failed(other)
    assert sweep.sweep(database, NOW) == 1
    assert other.history(left)[-1][0] == "Cancelled"
