"""The services of the orchestrator, as typed stubs."""

from collections.abc import Mapping

import grpc

from orchestrator import protos as pb
from orchestrator.client.shown import Shown


class _Caller(Shown):
    """Who calls.

    Args:
        organization: as whom (`mspid`).
        channel: the consortium whose assets are meant.
        address: host:port of the orchestrator.
    """

    def __init__(self, organization: str, channel: str, address: str) -> None:
        self.organization = organization
        self.channel = channel
        self.address = address

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        return {"organization": self.organization, "channel": self.channel, "address": self.address}


class Services(_Caller):
    """Those that wait for an answer, called as one organization in one channel."""

    def __init__(self, organization: str, channel: str, address: str, calls: grpc.Channel) -> None:
        super().__init__(organization, channel, address)
        self.plans = pb.ComputePlanServiceStub(calls)
        self.tasks = pb.ComputeTaskServiceStub(calls)
        self.functions = pb.FunctionServiceStub(calls)
        self.models = pb.ModelServiceStub(calls)
        self.data_managers = pb.DataManagerServiceStub(calls)
        self.data_samples = pb.DataSampleServiceStub(calls)
        self.datasets = pb.DatasetServiceStub(calls)
        self.performances = pb.PerformanceServiceStub(calls)
        self.failure_reports = pb.FailureReportServiceStub(calls)
        self.organizations = pb.OrganizationServiceStub(calls)
        self.profiling = pb.ProfilingServiceStub(calls)
        self.events = pb.EventServiceStub(calls)
        self.info = pb.InfoServiceStub(calls)
        self.inspection = pb.InspectionServiceStub(calls)
        self.worker = pb.WorkerServiceStub(calls)
        self.executions = pb.ExecutionServiceStub(calls)
        self.submissions = pb.SubmissionServiceStub(calls)
        self.topics = pb.TopicServiceStub(calls)
        self.execution_steps = pb.ExecutionStepServiceStub(calls)
        self.modules = pb.ModuleServiceStub(calls)


class AsyncServices(_Caller):
    """The same, awaited."""

    def __init__(self, organization: str, channel: str, address: str, calls: grpc.aio.Channel) -> None:
        super().__init__(organization, channel, address)
        self.plans = pb.ComputePlanServiceStub(calls)
        self.tasks = pb.ComputeTaskServiceStub(calls)
        self.functions = pb.FunctionServiceStub(calls)
        self.models = pb.ModelServiceStub(calls)
        self.data_managers = pb.DataManagerServiceStub(calls)
        self.data_samples = pb.DataSampleServiceStub(calls)
        self.datasets = pb.DatasetServiceStub(calls)
        self.performances = pb.PerformanceServiceStub(calls)
        self.failure_reports = pb.FailureReportServiceStub(calls)
        self.organizations = pb.OrganizationServiceStub(calls)
        self.profiling = pb.ProfilingServiceStub(calls)
        self.events = pb.EventServiceStub(calls)
        self.info = pb.InfoServiceStub(calls)
        self.inspection = pb.InspectionServiceStub(calls)
        self.worker = pb.WorkerServiceStub(calls)
        self.executions = pb.ExecutionServiceStub(calls)
        self.submissions = pb.SubmissionServiceStub(calls)
        self.topics = pb.TopicServiceStub(calls)
        self.execution_steps = pb.ExecutionStepServiceStub(calls)
        self.modules = pb.ModuleServiceStub(calls)
