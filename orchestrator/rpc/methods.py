"""What stands behind each method of the contract: the type of its request, and its use case or its stream."""

from collections.abc import Mapping

from orchestrator import protos as pb
from orchestrator.calls import subscription
from orchestrator.compute import (
    agreements,
    builds,
    checks,
    continuations,
    data_managers,
    data_samples,
    datasets,
    declines,
    explanations,
    failure_reports,
    functions,
    info,
    keys,
    models,
    nodes,
    organizations,
    performances,
    plans,
    profiling,
    reruns,
    submissions,
    task_actions,
    task_inputs,
    task_registration,
    tasks,
    times,
)
from orchestrator.engine import batches, claims, heartbeats, reports, task_events
from orchestrator.rpc import batches as lists
from orchestrator.rpc.handlers import Listed, Method, Parts, Stream, Unary
from orchestrator.trace import reading

METHODS: Mapping[str, Mapping[str, Method]] = {
    "ComputePlanService": {
        "RegisterPlan": Unary(pb.NewComputePlan, plans.register),
        "GetPlan": Unary(pb.GetComputePlanParam, plans.get),
        "ApplyPlanAction": Unary(pb.ApplyPlanActionParam, plans.apply_action),
        "QueryPlans": Unary(pb.QueryPlansParam, plans.query),
        "UpdatePlan": Unary(pb.UpdateComputePlanParam, plans.update),
        "IsPlanRunning": Unary(pb.IsPlanRunningParam, plans.is_running),
    },
    "ModelService": {
        "RegisterModel": Unary(pb.NewModel, models.register_one),
        "RegisterModels": Unary(pb.RegisterModelsParam, models.register, together=models.register_together),
        "GetModel": Unary(pb.GetModelParam, models.get),
        "GetComputeTaskOutputModels": Unary(pb.GetComputeTaskModelsParam, models.of_task),
    },
    "DataManagerService": {
        "RegisterDataManager": Unary(pb.NewDataManager, data_managers.register),
        "GetDataManager": Unary(pb.GetDataManagerParam, data_managers.get),
        "QueryDataManagers": Unary(pb.QueryDataManagersParam, data_managers.query),
        "UpdateDataManager": Unary(pb.UpdateDataManagerParam, data_managers.update),
    },
    "DataSampleService": {
        "RegisterDataSamples": Unary(pb.RegisterDataSamplesParam, data_samples.register),
        "UpdateDataSamples": Unary(pb.UpdateDataSamplesParam, data_samples.update),
        "QueryDataSamples": Unary(pb.QueryDataSamplesParam, data_samples.query),
        "GetDataSample": Unary(pb.GetDataSampleParam, data_samples.get),
    },
    "ComputeTaskService": {
        "RegisterTasks": Listed(pb.RegisterTasksParam, task_registration.register),
        "QueryTasks": Unary(pb.QueryTasksParam, tasks.query),
        "GetTask": Unary(pb.GetTaskParam, tasks.show),
        "ApplyTaskAction": Unary(pb.ApplyTaskActionParam, task_actions.apply, together=task_actions.apply_together),
        "GetTaskInputAssets": Unary(pb.GetTaskInputAssetsParam, task_inputs.get),
        "DisableOutput": Unary(pb.DisableOutputParam, task_actions.disable_output),
    },
    "DatasetService": {"GetDataset": Unary(pb.GetDatasetParam, datasets.get)},
    "FunctionService": {
        "RegisterFunction": Unary(pb.NewFunction, functions.register),
        "GetFunction": Unary(pb.GetFunctionParam, functions.get),
        "QueryFunctions": Unary(pb.QueryFunctionsParam, functions.query),
        "UpdateFunction": Unary(pb.UpdateFunctionParam, functions.update),
        "ApplyFunctionAction": Unary(pb.ApplyFunctionActionParam, functions.apply_action),
    },
    "FailureReportService": {
        "RegisterFailureReport": Unary(pb.NewFailureReport, failure_reports.register),
        "GetFailureReport": Unary(pb.GetFailureReportParam, failure_reports.get),
    },
    "OrganizationService": {
        "RegisterOrganization": Unary(pb.RegisterOrganizationParam, organizations.register),
        "GetAllOrganizations": Unary(pb.GetAllOrganizationsParam, organizations.get_all),
    },
    "PerformanceService": {
        "RegisterPerformance": Unary(pb.NewPerformance, performances.register),
        "QueryPerformances": Unary(pb.QueryPerformancesParam, performances.query),
    },
    "ProfilingService": {"RegisterProfilingStep": Unary(pb.ProfilingStep, profiling.register)},
    "EventService": {
        "QueryEvents": Unary(pb.QueryEventsParam, reading.query),
        "SubscribeToEvents": Stream(pb.SubscribeToEventsParam, subscription.subscribe),
    },
    "InspectionService": {
        "ExplainTask": Unary(pb.ExplainTaskParam, explanations.explain),
        "QueryPlanPerformances": Unary(pb.QueryPlanPerformancesParam, performances.of_plan),
        "QueryPlanTimes": Unary(pb.QueryPlanTimesParam, times.query),
        "GetBuild": Unary(pb.GetBuildParam, builds.get),
        "CountTasks": Unary(pb.CountTasksParam, plans.count_tasks),
        "FindKeys": Unary(pb.FindKeysParam, keys.find),
    },
    "InfoService": {"QueryVersion": Unary(pb.QueryVersionParam, info.version)},
    "SubmissionService": {
        "SubmitPlan": Parts(pb.SubmitPlanParam, submissions.submit),
        "CheckPlan": Parts(pb.CheckPlanParam, checks.check),
        "RetryPlan": Unary(pb.RetryPlanParam, continuations.retry, large=True),
        "RerunPlan": Unary(pb.RerunPlanParam, reruns.rerun, large=True),
        "SubmitRerun": Parts(pb.SubmitRerunParam, reruns.submit),
        "GetContinuations": Unary(pb.GetContinuationsParam, continuations.get),
    },
    "WorkerService": {
        "ClaimTask": Unary(pb.ClaimTaskParam, claims.claim, together=batches.claim_together),
        "ClaimAgreed": Unary(pb.ClaimAgreedParam, agreements.claim, together=agreements.claim_together),
        "Heartbeat": Unary(pb.HeartbeatParam, heartbeats.heartbeat),
        "CompleteTask": Unary(pb.CompleteTaskParam, reports.complete, together=batches.complete_together),
        "FailTask": Unary(pb.FailTaskParam, reports.fail),
        "ReleaseTask": Unary(pb.ReleaseTaskParam, reports.release),
        "DeclineTask": Unary(pb.DeclineTaskParam, declines.decline),
        "ReconsiderTasks": Unary(pb.ReconsiderTasksParam, declines.reconsider),
        "DelayBuild": Unary(pb.DelayBuildParam, builds.delay),
        "GetDeclines": Unary(pb.GetDeclinesParam, declines.query),
        "SubscribeToEventBatches": Stream(pb.SubscribeToEventBatchesParam, subscription.subscribe_in_batches),
        "GetTaskEvents": Unary(pb.GetTaskEventsParam, task_events.query),
        "GetCancellation": Unary(pb.GetCancellationParam, nodes.cancellation),
        "GetNodes": Unary(pb.GetNodesParam, nodes.get_all),
        "ClaimTasks": Unary(pb.ClaimTasksParam, lists.claim),
        "CompleteTasks": Unary(pb.CompleteTasksParam, lists.complete),
    },
}
"""By service and method. One that the contract has and this table has not is answered with UNIMPLEMENTED."""
