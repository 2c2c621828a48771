"""A small gRPC server of the contract with recorded answers, for what workers and asset stores ask."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from orchestrator import protos as pb


class Recorded(
    pb.ModelServiceServicer,
    pb.FunctionServiceServicer,
    pb.DataManagerServiceServicer,
    pb.FailureReportServiceServicer,
    pb.ComputeTaskServiceServicer,
    pb.OrganizationServiceServicer,
    pb.WorkerServiceServicer,
    pb.InfoServiceServicer,
    pb.ExecutionStepServiceServicer,
):
    """Answers with what was put into its dictionaries, and keeps what it was told."""

    def __init__(self) -> None:
        self.models: dict[str, pb.Model] = {}
        self.functions: dict[str, pb.Function] = {}
        self.data_managers: dict[str, pb.DataManager] = {}
        self.reports: dict[str, pb.FailureReport] = {}
        self.tasks: dict[str, pb.ComputeTask] = {}
        self.steps: dict[str, pb.ShownStep] = {}
        self.organizations: dict[str, str] = {}
        self.closed: set[str] = set()
        self.claims: dict[str, pb.ClaimTaskResponse] = {}
        self.claiming = threading.Event()
        self.claims_answered = threading.Event()
        self.claims_answered.set()
        self.agreed: list[list[tuple[str, str]]] | None = None
        self.stops: dict[str, str] = {}
        self.lease = 0.3
        self.heartbeats: list[tuple[str, pb.HeartbeatParam]] = []
        self.heartbeats_unanswered = 0
        self.released: list[pb.ReleaseTaskParam] = []
        self.declined: list[pb.DeclineTaskParam] = []
        self.declines: list[pb.Decline] = []
        self.reconsidered: list[str] = []
        self.disabling_unanswered = 0
        self.unanswered = 0
        self.completed: list[pb.CompleteTaskParam] = []
        self.failed: list[pb.FailTaskParam] = []
        self.registered_reports: list[pb.NewFailureReport] = []
        self.completion_refused = ""
        self.delayed: list[pb.DelayBuildParam] | None = []

    def GetModel(self, request: pb.GetModelParam, context: Any) -> pb.Model:
        return self._find(self.models, request.key, context)

    def GetComputeTaskOutputModels(
        self, request: pb.GetComputeTaskModelsParam, context: Any
    ) -> pb.GetComputeTaskModelsResponse:
        self._answer(context)
        made = [model for model in self.models.values() if model.compute_task_key == request.compute_task_key]
        return pb.GetComputeTaskModelsResponse(models=made)

    def DisableOutput(self, request: pb.DisableOutputParam, context: Any) -> pb.DisableOutputResponse:
        if self.disabling_unanswered:
            self.disabling_unanswered -= 1
            context.abort(grpc.StatusCode.UNKNOWN, "the network is bad")
        for model in self.models.values():
            if model.compute_task_key == request.compute_task_key:
                model.ClearField("address")
        return pb.DisableOutputResponse()

    def GetFunction(self, request: pb.GetFunctionParam, context: Any) -> pb.Function:
        return self._find(self.functions, request.key, context)

    def GetDataManager(self, request: pb.GetDataManagerParam, context: Any) -> pb.DataManager:
        return self._find(self.data_managers, request.key, context)

    def GetFailureReport(self, request: pb.GetFailureReportParam, context: Any) -> pb.FailureReport:
        return self._find(self.reports, request.asset_key, context)

    def GetTask(self, request: pb.GetTaskParam, context: Any) -> pb.ComputeTask:
        return self._find(self.tasks, request.key, context)

    def GetStep(self, request: pb.GetStepParam, context: Any) -> pb.ShownStep:
        return self._find(self.steps, request.key, context)

    def GetAllOrganizations(self, request: Any, context: Any) -> pb.GetAllOrganizationsResponse:
        known = [pb.Organization(id=name, address=address) for name, address in self.organizations.items()]
        return pb.GetAllOrganizationsResponse(organizations=known)

    def UpdateFunction(self, request: pb.UpdateFunctionParam, context: Any) -> pb.UpdateFunctionResponse:
        self.functions[request.key].image.CopyFrom(request.image)
        return pb.UpdateFunctionResponse()

    def ApplyFunctionAction(self, request: pb.ApplyFunctionActionParam, context: Any) -> Any:
        function = self.functions[request.function_key]
        steps = {
            (pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_ACTION_BUILDING): pb.FUNCTION_STATUS_BUILDING,
            (pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_ACTION_READY): pb.FUNCTION_STATUS_READY,
        }
        if (function.status, request.action) not in steps:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "OE0104: not from this status")
        function.status = steps[function.status, request.action]
        return pb.ApplyFunctionActionResponse()

    def RegisterFailureReport(self, request: pb.NewFailureReport, context: Any) -> pb.FailureReport:
        if self.functions[request.asset_key].status == pb.FUNCTION_STATUS_FAILED:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "OE0006: it has a report")
        self.registered_reports.append(request)
        self.functions[request.asset_key].status = pb.FUNCTION_STATUS_FAILED
        self._answer(context)
        return pb.FailureReport(asset_key=request.asset_key)

    def DelayBuild(self, request: pb.DelayBuildParam, context: Any) -> pb.DelayBuildResponse:
        if self.delayed is None:
            # As one of before.
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self.delayed.append(request)
        return pb.DelayBuildResponse(number=len(self.delayed))

    def ClaimTask(self, request: pb.ClaimTaskParam, context: Any) -> pb.ClaimTaskResponse:
        self.claiming.set()
        self.claims_answered.wait(30)
        return self._find(self.claims, request.compute_task_key, context)

    def ClaimAgreed(self, request: pb.ClaimAgreedParam, context: Any) -> pb.ClaimAgreedResponse:
        if self.agreed is None:
            # As one of before.
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        task = self._find(self.tasks, request.claim.compute_task_key, context)
        self.agreed.append([(each.function_key, each.plan_owner) for each in request.agreed])
        if (task.function_key, task.owner) in self.agreed[-1]:
            return pb.ClaimAgreedResponse(claimed=self.ClaimTask(request.claim, context))
        function = self._find(self.functions, task.function_key, context)
        return pb.ClaimAgreedResponse(asked=pb.AskedTask(task=task, function=function))

    def Heartbeat(self, request: pb.HeartbeatParam, context: Any) -> pb.HeartbeatResponse:
        self._check_open(context)
        self.heartbeats.append((_channel(context), request))
        if self.heartbeats_unanswered:
            self.heartbeats_unanswered -= 1
            context.abort(grpc.StatusCode.UNKNOWN, "the network is bad")
        stops = [
            pb.StopOrder(
                compute_task_key=attempt.compute_task_key,
                number=attempt.number,
                reason=self.stops[attempt.compute_task_key],
            )
            for attempt in request.attempts
            if attempt.compute_task_key in self.stops
        ]
        lease = Duration()
        lease.FromTimedelta(timedelta(seconds=self.lease))
        return pb.HeartbeatResponse(lease=lease, stops=stops)

    def CompleteTask(self, request: pb.CompleteTaskParam, context: Any) -> pb.CompleteTaskResponse:
        if self.completion_refused:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.completion_refused)
        if request in self.completed:
            return pb.CompleteTaskResponse()
        self._report(request.attempt, context)
        self.completed.append(request)
        return pb.CompleteTaskResponse()

    def FailTask(self, request: pb.FailTaskParam, context: Any) -> pb.FailTaskResponse:
        self._report(request.attempt, context)
        self.failed.append(request)
        return pb.FailTaskResponse(retry_after=Duration(seconds=5))

    def ReleaseTask(self, request: pb.ReleaseTaskParam, context: Any) -> pb.ReleaseTaskResponse:
        self._report(request.attempt, context)
        self.released.append(request)
        return pb.ReleaseTaskResponse()

    def DeclineTask(self, request: pb.DeclineTaskParam, context: Any) -> pb.DeclineTaskResponse:
        self.declined.append(request)
        return pb.DeclineTaskResponse()

    def GetDeclines(self, request: pb.GetDeclinesParam, context: Any) -> pb.GetDeclinesResponse:
        self._check_open(context)
        known = self.declines if _channel(context) == "known" else []
        return pb.GetDeclinesResponse(declines=known)

    def ReconsiderTasks(self, request: pb.ReconsiderTasksParam, context: Any) -> pb.ReconsiderTasksResponse:
        self.reconsidered += request.compute_task_keys
        return pb.ReconsiderTasksResponse(count=len(request.compute_task_keys))

    @property
    def stopped(self) -> list[str]:
        """Keys of the tasks that a heartbeat called stopped."""
        return [attempt.compute_task_key for _, beat in self.heartbeats for attempt in beat.stopped]

    def QueryVersion(self, request: pb.QueryVersionParam, context: Any) -> pb.QueryVersionResponse:
        self._answer(context)
        return pb.QueryVersionResponse(orchestrator="recorded")

    def _answer(self, context: Any) -> None:
        if self.unanswered:
            self.unanswered -= 1
            context.abort(grpc.StatusCode.UNKNOWN, "the network is bad")

    def _report(self, attempt: pb.Attempt, context: Any) -> None:
        self._answer(context)
        ended = {report.attempt.compute_task_key for report in self.completed}
        if attempt.compute_task_key in ended | set(self.stops):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "OE0104: the attempt does not hold the task")

    def _check_open(self, context: Any) -> None:
        if _channel(context) in self.closed:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "OE0102: the channel is not open")

    def _find(self, known: dict[str, Any], key: str, context: Any) -> Any:
        channel = _channel(context)
        self._check_open(context)
        if key not in known or channel != "known":
            context.abort(grpc.StatusCode.NOT_FOUND, f"OE0002: {key} is not in channel {channel}")
        return known[key]


def _channel(context: Any) -> str:
    return str(dict(context.invocation_metadata())["channel"])


@contextmanager
def serving() -> Iterator[tuple[Recorded, str]]:
    """Yield the server's answers, to be filled, and its address."""
    server = grpc.server(ThreadPoolExecutor(8))
    recorded = Recorded()
    pb.add_ModelServiceServicer_to_server(recorded, server)
    pb.add_FunctionServiceServicer_to_server(recorded, server)
    pb.add_DataManagerServiceServicer_to_server(recorded, server)
    pb.add_FailureReportServiceServicer_to_server(recorded, server)
    pb.add_ComputeTaskServiceServicer_to_server(recorded, server)
    pb.add_OrganizationServiceServicer_to_server(recorded, server)
    pb.add_WorkerServiceServicer_to_server(recorded, server)
    pb.add_InfoServiceServicer_to_server(recorded, server)
    pb.add_ExecutionStepServiceServicer_to_server(recorded, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield recorded, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
