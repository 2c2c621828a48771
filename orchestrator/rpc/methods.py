"""Which use case stands behind each method of the contract."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.compute import (
    data_managers,
    data_samples,
    datasets,
    declines,
    failure_reports,
    functions,
    info,
    models,
    nodes,
    organizations,
    performances,
    plans,
    profiling,
    task_actions,
    task_inputs,
    task_registration,
    tasks,
)
from orchestrator.engine import claims, heartbeats, reports, task_events
from orchestrator.trace import reading

UseCase = Callable[[Any, Any], Any]
"""From the transaction of a call and its request to the response."""

USE_CASES: Mapping[str, Mapping[str, UseCase]] = {
    "ComputePlanService": {
        "RegisterPlan": plans.register,
        "GetPlan": plans.get,
        "ApplyPlanAction": plans.apply_action,
        "QueryPlans": plans.query,
        "UpdatePlan": plans.update,
        "IsPlanRunning": plans.is_running,
    },
    "ModelService": {
        "RegisterModel": models.register_one,
        "RegisterModels": models.register,
        "GetModel": models.get,
        "GetComputeTaskOutputModels": models.of_task,
    },
    "DataManagerService": {
        "RegisterDataManager": data_managers.register,
        "GetDataManager": data_managers.get,
        "QueryDataManagers": data_managers.query,
        "UpdateDataManager": data_managers.update,
    },
    "DataSampleService": {
        "RegisterDataSamples": data_samples.register,
        "UpdateDataSamples": data_samples.update,
        "QueryDataSamples": data_samples.query,
        "GetDataSample": data_samples.get,
    },
    "ComputeTaskService": {
        "RegisterTasks": task_registration.register,
        "QueryTasks": tasks.query,
        "GetTask": tasks.show,
        "ApplyTaskAction": task_actions.apply,
        "GetTaskInputAssets": task_inputs.get,
        "DisableOutput": task_actions.disable_output,
    },
    "DatasetService": {"GetDataset": datasets.get},
    "FunctionService": {
        "RegisterFunction": functions.register,
        "GetFunction": functions.get,
        "QueryFunctions": functions.query,
        "UpdateFunction": functions.update,
        "ApplyFunctionAction": functions.apply_action,
    },
    "FailureReportService": {
        "RegisterFailureReport": failure_reports.register,
        "GetFailureReport": failure_reports.get,
    },
    "OrganizationService": {
        "RegisterOrganization": organizations.register,
        "GetAllOrganizations": organizations.get_all,
    },
    "PerformanceService": {
        "RegisterPerformance": performances.register,
        "QueryPerformances": performances.query,
    },
    "ProfilingService": {"RegisterProfilingStep": profiling.register},
    "EventService": {"QueryEvents": reading.query},
    "InfoService": {"QueryVersion": info.version},
    "WorkerService": {
        "ClaimTask": claims.claim,
        "Heartbeat": heartbeats.heartbeat,
        "CompleteTask": reports.complete,
        "FailTask": reports.fail,
        "ReleaseTask": reports.release,
        "DeclineTask": declines.decline,
        "ReconsiderTasks": declines.reconsider,
        "GetDeclines": declines.query,
        "GetTaskEvents": task_events.query,
        "GetCancellation": nodes.cancellation,
        "GetNodes": nodes.get_all,
    },
}
