"""Which calls gRPC sends again by itself when the server is unavailable, how often, and to which of several servers."""

import json

_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# A read changes nothing, and the worker's calls are idempotent: only those may be sent again.
SAFE_TO_REPEAT = {
    "orchestrator.ComputePlanService": ("GetPlan", "QueryPlans", "IsPlanRunning"),
    "orchestrator.ComputeTaskService": ("GetTask", "QueryTasks", "GetTaskInputAssets"),
    "orchestrator.DataManagerService": ("GetDataManager", "QueryDataManagers"),
    "orchestrator.DataSampleService": ("GetDataSample", "QueryDataSamples"),
    "orchestrator.DatasetService": ("GetDataset",),
    "orchestrator.EventService": ("QueryEvents",),
    "orchestrator.ExecutionService": ("BeginLook", "EndLook"),
    "orchestrator.ExecutionStepService": ("GetSteps", "GetStep"),
    "orchestrator.FailureReportService": ("GetFailureReport",),
    "orchestrator.FunctionService": ("GetFunction", "QueryFunctions"),
    "orchestrator.InfoService": ("QueryVersion",),
    "orchestrator.InspectionService": (
        "CountTasks",
        "ExplainTask",
        "FindKeys",
        "GetBuild",
        "QueryPlanPerformances",
        "QueryPlanTimes",
    ),
    "orchestrator.ModuleService": ("RegisterModule", "ReportModule"),
    "orchestrator.ModelService": ("GetModel", "GetComputeTaskOutputModels"),
    "orchestrator.OrganizationService": ("GetAllOrganizations",),
    "orchestrator.PerformanceService": ("QueryPerformances",),
    "orchestrator.SubmissionService": ("GetContinuations",),
    "orchestrator.TopicService": ("FindOldTopics",),
    "orchestrator.WorkerService": (
        "ClaimTask",
        "ClaimAgreed",
        "Heartbeat",
        "ClaimTasks",
        "CompleteTask",
        "CompleteTasks",
        "FailTask",
        "ReleaseTask",
        "DeclineTask",
        "ReconsiderTasks",
        "GetDeclines",
        "GetTaskEvents",
        "GetCancellation",
        "GetNodes",
    ),
}
"""Service -> methods."""

SERVICE_CONFIG = json.dumps(
    {
        # Of several servers behind one name each client takes another first, and the next when that one is gone.
        "loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}],
        "methodConfig": [
            {
                "name": [
                    {"service": service, "method": method}
                    for service, methods in SAFE_TO_REPEAT.items()
                    for method in methods
                ],
                "retryPolicy": _RETRY,
            }
        ],
    }
)
"""For a channel's option `grpc.service_config`."""
