"""Every call: what one channel hides from another, and keys, which are unique in all of them."""

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    MODELS,
    by_key,
    models,
    new_data_manager,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_plan,
    new_task,
    samples,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization, refuses


def test_assets_of_one_channel_are_invisible_in_another(org: Organization, elsewhere: Organization):
    manager = org.register_data_manager()
    sample = org.register_data_sample(manager)
    function = org.register_function()
    plan = org.register_plan()
    task = org.register_task(function, plan)
    org.start(task)
    model = org.register_model(task)
    org.send(task_failure(task))
    for request in (
        pb.GetDataManagerParam(key=manager.key),
        pb.GetDatasetParam(key=manager.key),
        pb.GetDataSampleParam(key=sample.key),
        pb.GetFunctionParam(key=function.key),
        pb.GetComputePlanParam(key=plan.key),
        pb.IsPlanRunningParam(key=plan.key),
        pb.GetTaskParam(key=task.key),
        pb.GetTaskInputAssetsParam(compute_task_key=task.key),
        pb.GetModelParam(key=model.key),
        pb.GetComputeTaskModelsParam(compute_task_key=task.key),
        pb.GetFailureReportParam(asset_key=task.key),
    ):
        org.send(request)
        with refuses("OE0002"):
            elsewhere.send(request)
    for request in (
        pb.QueryDataManagersParam(),
        pb.QueryDataSamplesParam(),
        pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=[sample.key])),
        pb.QueryFunctionsParam(),
        pb.QueryFunctionsParam(filter=pb.FunctionQueryFilter(compute_plan_key=plan.key)),
        pb.QueryPlansParam(),
        pb.QueryTasksParam(),
        pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=plan.key)),
        pb.QueryPerformancesParam(),
    ):
        assert elsewhere.all(request) == []
    assert {event.asset_kind for event in elsewhere.events()} == {pb.ASSET_ORGANIZATION}


def test_nothing_of_another_channel_can_be_changed_or_used(org: Organization, elsewhere: Organization):
    manager, function, plan = org.register_data_manager(), org.register_function(), org.register_plan()
    task = org.register_task(function, plan)
    for request in (
        pb.UpdateDataManagerParam(key=manager.key, name="name"),
        pb.UpdateFunctionParam(key=function.key, name="name", image=function.image),
        pb.UpdateComputePlanParam(key=plan.key, name="name"),
        pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED),
        pb.ApplyFunctionActionParam(function_key=function.key, action=pb.FUNCTION_ACTION_CANCELED),
        pb.ApplyTaskActionParam(compute_task_key=task.key, action=pb.TASK_ACTION_EXECUTING),
        tasks(new_task(function, elsewhere.register_plan())),
    ):
        elsewhere.refused(request, "OE0002")
    theirs = elsewhere.register_function()
    elsewhere.refused(tasks(new_task(theirs, plan)), "OE0002")
    own = elsewhere.register_plan()
    elsewhere.refused(tasks(new_task(theirs, own, inputs=[by_key("models", new_key())])), "OE0002", "OE0101")
    elsewhere.refused(tasks(new_task(theirs, own, [task])), "OE0101")


REGISTRATIONS = {
    "plan": lambda org, key: new_plan(key=key),
    "function": lambda org, key: new_function(key=key),
    "data manager": lambda org, key: new_data_manager(key=key),
    "data sample": lambda org, key: samples(new_data_sample(org.register_data_manager(), key=key)),
    "task": lambda org, key: tasks(new_task(org.register_function(), org.register_plan(), key=key)),
    "model": lambda org, key: models(new_model(org.task_in("STATUS_EXECUTING"), key=key)),
}
every_registration = pytest.mark.parametrize("registration", REGISTRATIONS)


@every_registration
def test_the_same_key_twice_is_a_conflict(org: Organization, registration: str):
    key = new_key()
    org.send(REGISTRATIONS[registration](org, key))
    org.refused(REGISTRATIONS[registration](org, key), "OE0006")


@every_registration
def test_the_same_key_in_two_channels_is_a_conflict(org: Organization, elsewhere: Organization, registration: str):
    key = new_key()
    org.send(REGISTRATIONS[registration](org, key))
    elsewhere.refused(REGISTRATIONS[registration](elsewhere, key), "OE0006")


@every_registration
def test_a_key_taken_in_another_channel_cannot_be_told_from_one_of_ones_own(
    org: Organization, elsewhere: Organization, registration: str
):
    key = new_key()
    theirs = elsewhere.beside("org-2")
    theirs.send(REGISTRATIONS[registration](theirs, key))
    mine = new_key()
    org.send(REGISTRATIONS[registration](org, mine))
    refusals = {}
    for taken in (key, mine):
        with refuses("OE0006") as caught:
            org.send(REGISTRATIONS[registration](org, taken))
        refusals[taken] = caught.value.details().replace(taken, "KEY")
    assert refusals[key] == refusals[mine]


def test_a_second_registration_of_an_organization_names_it_alone(org: Organization):
    org.refused(pb.RegisterOrganizationParam(), "OE0006", words="organization org-1 exists already")


@every_registration
def test_a_key_is_the_same_in_capitals(org: Organization, registration: str):
    key = new_key()
    org.send(REGISTRATIONS[registration](org, key))
    org.refused(REGISTRATIONS[registration](org, key.upper()), "OE0006", "OE0101")


def test_the_same_key_twice_in_one_call_is_a_conflict(org: Organization, function: pb.Function, plan: pb.ComputePlan):
    key = new_key()
    manager = org.register_data_manager()
    org.refused(samples(new_data_sample(manager, key=key), new_data_sample(manager, key=key)), "OE0006")
    org.refused(tasks(new_task(function, plan, key=key), new_task(function, plan, key=key)), "OE0006")
    wide = org.register_function(outputs={"model": MODELS})
    task = org.register_task(wide, plan)
    org.start(task)
    org.refused(models(new_model(task, key=key), new_model(task, key=key)), "OE0006")
