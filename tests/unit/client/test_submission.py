"""A plan in parts: all of it, in its order, and no part larger than it must be."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.client import submission
from orchestrator.client.parts import parts
from orchestrator.client.task import Task

PLAN = pb.NewComputePlan(key="plan", name="a plan")


def new_tasks(sizes: list[int]) -> list[pb.NewComputeTask]:
    return [pb.NewComputeTask(key=str(number), worker="x" * size) for number, size in enumerate(sizes)]


@given(sizes=st.lists(st.integers(0, 400), max_size=30), most=st.integers(1, 600))
def test_parts_hold_all_tasks_in_their_order_and_are_as_large_as_they_may_be(sizes: list[int], most: int) -> None:
    tasks = new_tasks(sizes)
    sent = list(parts(PLAN, tasks, pb.SubmitPlanParam, most))
    assert [task for part in sent for task in part.tasks] == tasks
    assert [part.HasField("head") for part in sent] == [True] + [False] * (len(sent) - 1)
    assert (sent[0].head.plan, sent[0].head.tasks) == (PLAN, len(tasks))
    weights = [sum(task.ByteSize() for task in part.tasks) for part in sent]
    assert all(weight <= most or len(part.tasks) == 1 for weight, part in zip(weights, sent, strict=True))
    for weight, (_, after) in zip(weights, itertools.pairwise(sent), strict=False):
        assert weight + after.tasks[0].ByteSize() > most


@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=30), most=st.integers(1, 40))
def test_a_batch_is_bounded_in_tasks_and_in_bytes(sizes: list[int], most: int) -> None:
    tasks = [Task(message, pb.Function()) for message in new_tasks(sizes)]
    batch = submission._batch(tasks, most, 500)
    assert batch == tasks[: len(batch)]
    assert 1 <= len(batch) <= most
    assert len(batch) == 1 or sum(task.message.ByteSize() for task in batch) <= 500
