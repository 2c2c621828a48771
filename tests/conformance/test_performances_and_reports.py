"""Performances, failure reports and profiling."""

import math
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    MODEL,
    SCORE,
    address,
    function_failure,
    new_key,
    new_performance,
    profiling_step,
    task_failure,
)
from tests.kit.organization import Organization, refuses, task_action

from .test_models import OTHER_STATES

REFUSED_STATE = ("OE0003", "OE0104", "OE0110")


@pytest.fixture
def executing(org: Organization, other: Organization, plan: pb.ComputePlan) -> pb.ComputeTask:
    """A task of org-1 that org-2 executes."""
    function = org.register_function(outputs={"model": MODEL, "score": SCORE, "loss": SCORE})
    task = org.register_task(function, plan, worker="org-2")
    other.start(task)
    return task


def test_a_performance_is_registered(other: Organization, executing: pb.ComputeTask):
    new = new_performance(executing, performance_value=0.25)
    performance = other.send(new)
    assert performance.compute_task_key == executing.key
    assert performance.compute_task_output_identifier == "score"
    assert performance.performance_value == 0.25
    assert performance.creation_date.seconds
    assert other.all(pb.QueryPerformancesParam()) == [performance]


@pytest.mark.parametrize("value", [0.0, -1.5, 3.4e38, math.inf, -math.inf])
def test_any_number_is_kept(other: Organization, executing: pb.ComputeTask, value: float):
    new = new_performance(executing, performance_value=value)
    assert other.send(new).performance_value == new.performance_value
    (stored,) = other.all(pb.QueryPerformancesParam())
    assert stored.performance_value == new.performance_value


def test_not_a_number_is_kept(other: Organization, executing: pb.ComputeTask):
    other.send(new_performance(executing, performance_value=math.nan))
    (stored,) = other.all(pb.QueryPerformancesParam())
    assert math.isnan(stored.performance_value)


def test_only_the_worker_registers_performances(org: Organization, other: Organization, executing: pb.ComputeTask):
    org.refused(new_performance(executing), "OE0102")
    other.send(new_performance(executing))


@pytest.mark.parametrize("status", OTHER_STATES)
def test_performances_only_while_executing(org: Organization, status: str):
    org.refused(new_performance(org.task_in(status)), "OE0003")


def test_the_output_of_a_performance(other: Organization, executing: pb.ComputeTask):
    other.refused(new_performance(new_key()), "OE0002")
    for identifier in ("", "other"):
        other.refused(new_performance(executing, compute_task_output_identifier=identifier), "OE0106")
    other.refused(new_performance(executing, compute_task_output_identifier="model"), "OE0107")


def test_a_second_performance_on_an_output_is_a_conflict(other: Organization, executing: pb.ComputeTask):
    other.send(new_performance(executing))
    other.refused(new_performance(executing), "OE0006")
    other.send(new_performance(executing, compute_task_output_identifier="loss"))


def test_a_performance_gives_an_asset_event_then_an_output_event(other: Organization, executing: pb.ComputeTask):
    performance = other.send(new_performance(executing))
    asset, produced = other.events(start=performance.creation_date)
    assert asset.asset_kind == pb.ASSET_PERFORMANCE
    assert asset.asset_key == f"{executing.key}|score"
    assert asset.performance == performance
    assert produced.asset_kind == pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET
    assert produced.asset_key == executing.key
    assert produced.compute_task_output_asset == pb.ComputeTaskOutputAsset(
        compute_task_key=executing.key,
        compute_task_output_identifier="score",
        asset_kind=pb.ASSET_PERFORMANCE,
        asset_key=asset.asset_key,
    )
    assert {asset.event_kind, produced.event_kind} == {pb.EVENT_ASSET_CREATED}


def test_a_report_makes_the_task_failed_in_the_same_transaction(other: Organization, executing: pb.ComputeTask):
    report = other.send(task_failure(executing))
    assert report.asset_key == executing.key
    assert report.asset_type == pb.FAILED_ASSET_COMPUTE_TASK
    assert report.error_type == pb.ERROR_TYPE_EXECUTION
    assert report.logs_address == address()
    assert report.owner == "org-2"
    assert other.status(executing) == "STATUS_FAILED"
    plan = other.plan(executing.compute_plan_key)
    assert plan.failure_date == report.creation_date
    events = other.events(start=report.creation_date)
    snapshots = {event.asset_kind: event for event in events}
    assert len(events) == len(snapshots) == 3
    assert snapshots[pb.ASSET_FAILURE_REPORT].failure_report == report
    assert snapshots[pb.ASSET_FAILURE_REPORT].asset_key == executing.key
    assert snapshots[pb.ASSET_FAILURE_REPORT].event_kind == pb.EVENT_ASSET_CREATED
    assert snapshots[pb.ASSET_COMPUTE_TASK].compute_task == other.task(executing)
    assert snapshots[pb.ASSET_COMPUTE_PLAN].compute_plan == plan


def test_only_the_worker_reports_on_a_task(
    org: Organization, other: Organization, third: Organization, executing: pb.ComputeTask
):
    for stranger in (org, third):
        stranger.refused(task_failure(executing), "OE0102")
    other.send(task_failure(executing))


@pytest.mark.parametrize("status", OTHER_STATES)
def test_reports_on_a_task_only_while_executing(org: Organization, status: str):
    task = org.task_in(status)
    org.refused(task_failure(task), *REFUSED_STATE)
    with refuses("OE0002"):
        org.send(pb.GetFailureReportParam(asset_key=task.key))


def test_a_second_report_is_refused(other: Organization, executing: pb.ComputeTask):
    report = other.send(task_failure(executing))
    again = task_failure(executing, error_type=pb.ERROR_TYPE_BUILD)
    other.refused(again, *REFUSED_STATE, "OE0006")
    assert other.send(pb.GetFailureReportParam(asset_key=executing.key)) == report
    other.refused(task_action(executing, pb.TASK_ACTION_DONE), "OE0104")


def test_a_report_is_about_something_that_exists(org: Organization):
    task, function = org.task_in("STATUS_EXECUTING"), org.register_function(pb.FUNCTION_STATUS_BUILDING)
    for report in (
        task_failure(new_key()),
        function_failure(new_key()),
        task_failure(function),
        function_failure(task),
    ):
        org.refused(report, "OE0002")


def test_a_report_makes_the_function_and_its_tasks_failed(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    task = org.register_task(function, plan)
    report = org.send(function_failure(function))
    assert (report.asset_key, report.owner) == (function.key, "org-1")
    assert org.send(pb.GetFailureReportParam(asset_key=function.key)) == report
    failed = org.send(pb.GetFunctionParam(key=function.key))
    assert failed.status == pb.FUNCTION_STATUS_FAILED
    assert org.status(task) == "STATUS_FAILED"
    events = org.events(start=report.creation_date)
    assert {event.timestamp.ToNanoseconds() for event in events} == {report.creation_date.ToNanoseconds()}
    assert [event.failure_report for event in events if event.HasField("failure_report")] == [report]
    assert [event.function for event in events if event.HasField("function")] == [failed]
    assert [event.compute_task for event in events if event.HasField("compute_task")] == [org.task(task)]


def test_only_the_owner_reports_on_a_function(org: Organization, other: Organization):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    other.refused(function_failure(function), "OE0102")
    org.send(function_failure(function))


@pytest.mark.parametrize("status", ["WAITING", "READY", "CANCELED", "FAILED"])
def test_reports_on_a_function_only_while_it_is_built(org: Organization, status: str):
    function = org.register_function(pb.FunctionStatus.Value(f"FUNCTION_STATUS_{status}"))
    org.refused(function_failure(function), "OE0104", "OE0003", "OE0006")
    assert org.send(pb.GetFunctionParam(key=function.key)) == function


@pytest.mark.parametrize("duration", [1, 2**32 - 1])
def test_a_profiling_step_is_an_event_only(org: Organization, function: pb.Function, duration: Any):
    step = profiling_step(function, duration=duration)
    before = org.events()
    org.send(step)
    (event,) = org.events()[len(before) :]
    assert event.asset_kind == pb.ASSET_PROFILING_STEP
    assert event.event_kind == pb.EVENT_ASSET_CREATED
    assert event.asset_key == function.key
    assert event.profiling_step == step
    assert org.send(pb.GetFunctionParam(key=function.key)) == function
    org.send(step)
    assert len(org.events()) == len(before) + 2


def test_a_profiling_step_is_a_functions_and_its_owners(
    org: Organization, other: Organization, elsewhere: Organization, function: pb.Function
):
    task = org.task_in("STATUS_EXECUTING")
    for key in (task.key, task.compute_plan_key, new_key(), elsewhere.register_function().key):
        org.refused(profiling_step(key), "OE0101", words=f"{key} is no function of this channel")
    other.refused(profiling_step(function), "OE0102")


def test_no_event_of_a_channel_is_of_a_kind_that_the_contract_does_not_know(org: Organization):
    task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT")
    org.decline(task)
    declined = org.newest()
    org.claim_and_complete(task, profiling_step(task))
    kinds = {event.asset_kind for event in org.events()}
    assert pb.ASSET_PROFILING_STEP not in kinds
    assert max(kinds) <= max(pb.AssetKind.values())
    stream = org.subscribe(declined)
    seen = [next(stream), next(stream)]
    stream.cancel()
    assert [event.compute_task.status for event in seen] == [pb.STATUS_EXECUTING, pb.STATUS_DONE]
