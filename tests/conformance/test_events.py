"""Events: one for every creation, update and disabling, and how they are queried."""

import uuid
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from tests.kit.messages import (
    MODEL,
    SCORE,
    address,
    models,
    new_data_manager,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_performance,
    new_plan,
    new_task,
    samples,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization, rows_of

SNAPSHOTS = {
    pb.ASSET_ORGANIZATION: "organization",
    pb.ASSET_DATA_SAMPLE: "data_sample",
    pb.ASSET_DATA_MANAGER: "data_manager",
    pb.ASSET_FUNCTION: "function",
    pb.ASSET_COMPUTE_TASK: "compute_task",
    pb.ASSET_COMPUTE_PLAN: "compute_plan",
    pb.ASSET_MODEL: "model",
    pb.ASSET_PERFORMANCE: "performance",
    pb.ASSET_FAILURE_REPORT: "failure_report",
    pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET: "compute_task_output_asset",
    pb.ASSET_PROFILING_STEP: "profiling_step",
}


def check_events(org: Organization, events: list[pb.Event]) -> None:
    """Check what holds for any list of events."""
    assert len({event.id for event in events}) == len(events)
    for event in events:
        assert str(uuid.UUID(event.id)) == event.id
        assert event.channel == org.channel
        assert event.WhichOneof("asset") == SNAPSHOTS[event.asset_kind]
        assert event.event_kind != pb.EVENT_UNKNOWN


def snapshot_of(event: pb.Event) -> Any:
    return getattr(event, SNAPSHOTS[event.asset_kind])


def test_registration_of_an_organization_is_an_event(bare: dict[str, Organization]):
    organization = bare["org-1"].send(pb.RegisterOrganizationParam())
    events = bare["org-1"].events()
    check_events(bare["org-1"], events)
    (event,) = events
    assert (event.asset_kind, event.asset_key) == (pb.ASSET_ORGANIZATION, "org-1")
    assert event.event_kind == pb.EVENT_ASSET_CREATED
    assert event.organization == organization


REGISTRATIONS = {
    "plan": (pb.ASSET_COMPUTE_PLAN, lambda org: new_plan(metadata={"k": "v"})),
    "function": (pb.ASSET_FUNCTION, lambda org: new_function(metadata={"k": "v"})),
    "data manager": (pb.ASSET_DATA_MANAGER, lambda org: new_data_manager(metadata={"k": "v"})),
    "data samples": (
        pb.ASSET_DATA_SAMPLE,
        lambda org: samples(*(new_data_sample(org.register_data_manager()) for _ in range(3))),
    ),
    "tasks": (
        pb.ASSET_COMPUTE_TASK,
        lambda org: tasks(*(new_task(org.register_function(), org.register_plan()) for _ in range(3))),
    ),
}


@pytest.mark.parametrize("registration", REGISTRATIONS)
def test_every_creation_is_one_event(org: Organization, registration: str):
    kind, make = REGISTRATIONS[registration]
    request = make(org)
    before = org.events()
    response = org.send(request)
    made = rows_of(response) if registration in ("data samples", "tasks") else [response]
    events = org.events()[len(before) :]
    check_events(org, events)
    assert {event.asset_kind for event in events} == {kind}
    assert {event.event_kind for event in events} == {pb.EVENT_ASSET_CREATED}
    assert {event.timestamp.ToNanoseconds() for event in events} == {made[0].creation_date.ToNanoseconds()}
    assert sorted(event.asset_key for event in events) == sorted(asset.key for asset in made)
    stored = {asset.key: asset for asset in made}
    assert all(snapshot_of(event) == stored[event.asset_key] for event in events)


def test_every_update_is_one_event(org: Organization):
    plan, manager = org.register_plan(), org.register_data_manager()
    second = org.register_data_manager()
    sample = org.register_data_sample(manager)
    function = org.register_function()
    for update, asset, get in (
        (pb.UpdateComputePlanParam(key=plan.key, name="new"), plan, pb.GetComputePlanParam),
        (pb.UpdateDataManagerParam(key=manager.key, name="new"), manager, pb.GetDataManagerParam),
        (pb.UpdateFunctionParam(key=function.key, name="new", image=address()), function, pb.GetFunctionParam),
        (
            pb.UpdateDataSamplesParam(keys=[sample.key], data_manager_keys=[second.key]),
            sample,
            pb.GetDataSampleParam,
        ),
    ):
        before = org.events()
        org.send(update)
        (event,) = org.events()[len(before) :]
        check_events(org, [event])
        assert event.asset_key == asset.key
        assert event.event_kind == pb.EVENT_ASSET_UPDATED
        assert snapshot_of(event) == org.send(get(key=asset.key))


def test_reading_makes_no_event(org: Organization, plan: pb.ComputePlan):
    before = org.events()
    for request in (
        pb.GetComputePlanParam(key=plan.key),
        pb.IsPlanRunningParam(key=plan.key),
        pb.QueryPlansParam(),
        pb.GetAllOrganizationsParam(),
    ):
        org.send(request)
    assert org.events() == before


@pytest.fixture
def life(org: Organization) -> list[pb.Event]:
    """The events of a task that fails after it made a model and a performance."""
    manager = org.register_data_manager()
    org.register_data_sample(manager)
    function = org.register_function(outputs={"model": MODEL, "score": SCORE})
    task = org.register_task(function, org.register_plan())
    org.act(task, pb.TASK_ACTION_EXECUTING, "on a node")
    org.register_model(task)
    org.send(new_performance(task))
    org.send(task_failure(task))
    return org.events()


def test_events_by_asset_key(org: Organization, life: list[pb.Event]):
    for key in {event.asset_key for event in life}:
        assert org.events(asset_key=key) == [event for event in life if event.asset_key == key]
    assert org.events(asset_key=new_key()) == []


def test_events_by_asset_kind(org: Organization, life: list[pb.Event]):
    check_events(org, life)
    for kind in SNAPSHOTS:
        assert org.events(asset_kind=kind) == [event for event in life if event.asset_kind == kind]
    assert len({event.asset_kind for event in life}) == len(SNAPSHOTS) - 1


def test_events_by_event_kind(org: Organization, life: list[pb.Event]):
    for kind in (pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_UPDATED, pb.EVENT_ASSET_DISABLED):
        assert org.events(event_kind=kind) == [event for event in life if event.event_kind == kind]


def test_events_by_metadata(org: Organization, life: list[pb.Event]):
    (started,) = (event for event in life if event.compute_task.status == pb.STATUS_EXECUTING)
    reason = started.metadata["reason"]
    found = [event for event in life if event.metadata.get("reason") == reason]
    assert org.events(metadata={"reason": reason}) == found
    assert started in found
    for others in ({"reason": f"{reason}?"}, {"Reason": reason}, {"reason": reason, "more": ""}):
        assert org.events(metadata=others) == []


def test_events_by_a_long_reason(org: Organization):
    log = "because " * 20
    task = org.task_in("STATUS_EXECUTING")
    org.act(task, pb.TASK_ACTION_CANCELED, log)
    event = org.events(asset_key=task.key)[-1]
    assert org.events(metadata={"reason": event.metadata["reason"]}) == [event]


def test_events_by_start_and_end_inclusive(org: Organization, life: list[pb.Event]):
    moments = sorted({event.timestamp.ToNanoseconds() for event in life})
    for moment in (moments[0], moments[len(moments) // 2], moments[-1]):
        stamp = Timestamp()
        stamp.FromNanoseconds(moment)
        at = [event for event in life if event.timestamp == stamp]
        assert org.events(start=stamp) == [e for e in life if e.timestamp.ToNanoseconds() >= moment]
        assert org.events(end=stamp) == [e for e in life if e.timestamp.ToNanoseconds() <= moment]
        assert org.events(start=stamp, end=stamp) == at
        just_before, just_after = Timestamp(), Timestamp()
        just_before.FromNanoseconds(moment - 1000)
        just_after.FromNanoseconds(moment + 1000)
        assert at[0] not in org.events(start=just_after)
        assert at[0] not in org.events(end=just_before)
        assert org.events(start=just_after, end=just_before) == []


def test_filters_are_combined(org: Organization, life: list[pb.Event]):
    (task_key,) = {event.asset_key for event in life if event.HasField("compute_task")}
    found = org.events(asset_key=task_key, asset_kind=pb.ASSET_COMPUTE_TASK, event_kind=pb.EVENT_ASSET_UPDATED)
    assert [event.compute_task.status for event in found] == [pb.STATUS_EXECUTING, pb.STATUS_FAILED]
    assert org.events(asset_key=task_key, asset_kind=pb.ASSET_COMPUTE_PLAN) == []


def test_filters_hold_on_every_page_and_descending(org: Organization, life: list[pb.Event]):
    expected = [event for event in life if event.event_kind == pb.EVENT_ASSET_CREATED]
    query = pb.QueryEventsParam(
        page_size=2,
        sort=pb.DESCENDING,
        filter=pb.EventQueryFilter(event_kind=pb.EVENT_ASSET_CREATED),
    )
    assert org.all(query) == expected[::-1]


def test_a_snapshot_shows_the_asset_as_it_was(org: Organization):
    task = org.task_in("STATUS_DONE")
    statuses = [event.compute_task.status for event in org.events(asset_kind=pb.ASSET_COMPUTE_TASK)]
    assert statuses == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_DONE]
    function_key = task.function_key
    history = [event.function for event in org.events(asset_key=function_key)]
    assert [function.status for function in history] == [
        pb.FUNCTION_STATUS_WAITING,
        pb.FUNCTION_STATUS_BUILDING,
        pb.FUNCTION_STATUS_BUILDING,
        pb.FUNCTION_STATUS_READY,
    ]
    assert [function.image.checksum == "" for function in history] == [True, True, False, False]


def test_the_order_of_the_events_of_one_call(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    """Of one timestamp, in the order of their ids: cause before effect, creations in the order of the answer."""
    parent = new_task(function, plan)
    children = [new_task(function, plan, [parent]) for _ in range(10)]
    registered = org.send(tasks(*children, parent)).tasks
    created = org.events(asset_kind=pb.ASSET_COMPUTE_TASK)
    assert [event.asset_key for event in created] == [task.key for task in registered]
    org.start(parent)
    model = org.send(models(new_model(parent))).models[0]
    assert [event.asset_kind for event in org.events(start=model.creation_date)] == [
        pb.ASSET_MODEL,
        pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET,
    ]
    org.act(parent, pb.TASK_ACTION_DONE)
    done = org.events(asset_key=parent.key, event_kind=pb.EVENT_ASSET_UPDATED)[-1]
    assert org.events(start=done.timestamp)[0] == done
