"""When a compute plan has ended, and what people call its state."""

import pytest

from orchestrator import protos as pb
from orchestrator.client import Progress

TODO, DOING, DONE, FAILED, CANCELED = (
    pb.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    pb.STATUS_EXECUTING,
    pb.STATUS_DONE,
    pb.STATUS_FAILED,
    pb.STATUS_CANCELED,
)


def plan(**dates: bool) -> pb.ComputePlan:
    made = pb.ComputePlan(key="plan")
    for name in dates:
        getattr(made, name).GetCurrentTime()
    return made


def tasks(*statuses: int) -> list[pb.ComputeTask]:
    return [pb.ComputeTask(key=str(number), status=status) for number, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("dates", "statuses", "state", "ended"),
    [
        ({}, (), "Waiting", False),
        ({}, (TODO, pb.STATUS_BUILDING), "Waiting", False),
        ({}, (DOING, TODO), "Doing", False),
        ({}, (DONE, TODO), "Doing", False),
        ({}, (DONE, DONE), "Done", True),
        ({}, (DONE, CANCELED), "Cancelled", True),
        # The plan's own failure follows in the same transaction.
        ({}, (DONE, FAILED), "Failed", False),
        ({"failure_date": True}, (FAILED, DOING), "Failed", True),
        ({"failure_date": True}, (FAILED, CANCELED), "Failed", True),
        ({"cancelation_date": True}, (CANCELED, DOING), "Cancelled", False),
        ({"cancelation_date": True}, (CANCELED, DONE), "Cancelled", True),
        ({"cancelation_date": True}, (), "Cancelled", True),
    ],
)
def test_states(dates, statuses, state, ended):
    progress = Progress(plan(**dates), tasks(*statuses))
    assert (progress.state, progress.ended) == (state, ended)


def test_a_task_that_is_born_failed_ends_the_plan():
    progress = Progress(plan())
    progress.see(pb.ComputeTask(key="1", status=FAILED), created=True)
    assert progress.ended


def test_a_plan_is_not_done_before_all_that_is_expected_is_there():
    progress = Progress(plan(), expected=["0", "1"])
    progress.see(pb.ComputeTask(key="0", status=DONE))
    assert not progress.ended
    assert progress.state == "Doing"
    progress.see(pb.ComputeTask(key="1", status=DONE), created=True)
    assert progress.ended


def test_counts_follow_each_task():
    progress = Progress(plan(), tasks(TODO, TODO))
    progress.see(pb.ComputeTask(key="0", status=DOING))
    progress.see(pb.ComputeTask(key="0", status=DONE))
    assert {word: number for word, number in progress.counts.items() if number} == {"To do": 1, "Done": 1}
    assert list(progress.counts) == ["Waiting", "Building", "To do", "Doing", "Done", "Cancelled", "Failed"]
