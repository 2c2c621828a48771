"""One organization's connection to an orchestrator, in one channel."""

import json
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from orchestrator import protos as pb

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# A read changes nothing, and the worker's calls are idempotent: only those may be sent again.
_SAFE_TO_REPEAT = {
    "orchestrator.ComputePlanService": ("GetPlan", "QueryPlans", "IsPlanRunning"),
    "orchestrator.ComputeTaskService": ("GetTask", "QueryTasks", "GetTaskInputAssets"),
    "orchestrator.DataManagerService": ("GetDataManager", "QueryDataManagers"),
    "orchestrator.DataSampleService": ("GetDataSample", "QueryDataSamples"),
    "orchestrator.DatasetService": ("GetDataset",),
    "orchestrator.EventService": ("QueryEvents",),
    "orchestrator.FailureReportService": ("GetFailureReport",),
    "orchestrator.FunctionService": ("GetFunction", "QueryFunctions"),
    "orchestrator.InfoService": ("QueryVersion",),
    "orchestrator.ModelService": ("GetModel", "GetComputeTaskOutputModels"),
    "orchestrator.OrganizationService": ("GetAllOrganizations",),
    "orchestrator.PerformanceService": ("QueryPerformances",),
    "orchestrator.WorkerService": ("ClaimTask", "Heartbeat", "CompleteTask", "FailTask"),
}
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": service, "method": method}
                for service, methods in _SAFE_TO_REPEAT.items()
                for method in methods
            ],
            "retryPolicy": _RETRY,
        }
    ]
}


@dataclass(frozen=True)
class Certificates:
    """The files that prove who we are, and whom we trust.

    Args:
        authority: PEM file with the CA certificates of the servers that we trust.
        certificate: PEM file with our certificate.
        key: PEM file with its private key.
    """

    authority: Path
    certificate: Path
    key: Path


class Client:
    """Typed stubs of every service, called as one organization in one channel.

    Calls raise `grpc.RpcError`; its details begin with the contract's error code.

    Args:
        address: host:port of the orchestrator.
        organization: who calls (`mspid`).
        channel: the consortium whose assets are meant.
        certificates: for mutual TLS; None speaks plain gRPC.
        timeout: deadline of each unary call, in seconds.
    """

    def __init__(
        self,
        address: str,
        organization: str,
        channel: str,
        certificates: Certificates | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.organization = organization
        self.channel = channel
        options = [
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        if certificates is None:
            transport = grpc.insecure_channel(address, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                certificates.authority.read_bytes(),
                certificates.key.read_bytes(),
                certificates.certificate.read_bytes(),
            )
            transport = grpc.secure_channel(address, credentials, options)
        self._transport = transport
        calls = grpc.intercept_channel(transport, _Identify(organization, channel, timeout))
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
        self.worker = pb.WorkerServiceStub(calls)

    def close(self) -> None:
        """End the connection; calls that are under way fail with CANCELLED."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_CallDetails = namedtuple("_CallDetails", ("method", "timeout", "metadata", "credentials", "wait_for_ready"))


class _Identify(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds the caller and the channel to each call, and a deadline to each unary one that has none."""

    def __init__(self, organization: str, channel: str, timeout: float) -> None:
        self._metadata = (("mspid", organization), ("channel", channel))
        self._timeout = timeout

    def _identified(self, details: Any, timeout: float | None) -> Any:
        metadata = (*(details.metadata or ()), *self._metadata)
        return _CallDetails(
            details.method, details.timeout or timeout, metadata, details.credentials, details.wait_for_ready
        )

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._identified(details, self._timeout), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._identified(details, None), request)
