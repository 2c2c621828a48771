"""One caller over every transport: an organization that sends requests in a channel, and is refused.

plan = org.send(new_plan())
other.refused(pb.UpdateComputePlanParam(key=plan.key, name="mine"), "OE0102")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import OrchestratorError
from tests.kit.messages import (
    address,
    key_of,
    models,
    new_data_manager,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_plan,
    new_task,
    samples,
    tasks,
)
from tests.kit.transports import TIMEOUT_SECONDS, Transport

ORGANIZATIONS = ("org-1", "org-2", "org-3")

_STATUS = {
    "OE0002": grpc.StatusCode.NOT_FOUND,
    "OE0003": grpc.StatusCode.FAILED_PRECONDITION,
    "OE0006": grpc.StatusCode.ALREADY_EXISTS,
    "OE0010": grpc.StatusCode.UNIMPLEMENTED,
    "OE0101": grpc.StatusCode.INVALID_ARGUMENT,
    "OE0102": grpc.StatusCode.PERMISSION_DENIED,
    "OE0104": grpc.StatusCode.FAILED_PRECONDITION,
    "OE0105": grpc.StatusCode.INVALID_ARGUMENT,
    "OE0106": grpc.StatusCode.INVALID_ARGUMENT,
    "OE0107": grpc.StatusCode.INVALID_ARGUMENT,
    "OE0108": grpc.StatusCode.FAILED_PRECONDITION,
    "OE0109": grpc.StatusCode.FAILED_PRECONDITION,
    "OE0110": grpc.StatusCode.FAILED_PRECONDITION,
}


@contextmanager
def refuses(*codes: str) -> Iterator[pytest.ExceptionInfo[grpc.RpcError | OrchestratorError]]:
    """Check that the call inside is refused with a code; over the wire, in its message and as its status.

    Args:
        codes: the code that the contract names; several where it leaves the choice.
    """
    with pytest.raises((grpc.RpcError, OrchestratorError)) as caught:
        yield caught
    details = said(caught.value)
    assert details.startswith(codes), f"{details!r} instead of {' or '.join(codes)}"
    if isinstance(caught.value, grpc.RpcError):
        assert caught.value.code() is _STATUS[details[:6]], details


def said(refusal: grpc.RpcError | OrchestratorError) -> str:
    """Return the code and the words of a refusal."""
    return str(refusal) if isinstance(refusal, OrchestratorError) else refusal.details()


class Organization:
    """An organization that calls in a channel; what it registers is valid unless a test says otherwise."""

    def __init__(self, transport: Transport, name: str, channel: str) -> None:
        self.name = name
        self.channel = channel
        self.metadata = (("mspid", name), ("channel", channel))
        self._transport = transport

    def send(self, request: Any) -> Any:
        """Send a request to the one method that takes its type."""
        return self._transport.method(request)(request, metadata=self.metadata, timeout=TIMEOUT_SECONDS)

    def refused(self, request: Any, *codes: str, words: str = "") -> None:
        """Check that a request is refused with a code and these words, and that it left no event behind."""
        newest = pb.QueryEventsParam(sort=pb.DESCENDING, page_size=1)
        before = list(self.send(newest).events)
        with refuses(*codes) as caught:
            self.send(request)
        assert words in said(caught.value)
        assert list(self.send(newest).events) == before, "a refused request left an event behind"

    def subscribe(self, start_event_id: str = "", timeout: float = TIMEOUT_SECONDS) -> Any:
        request = pb.SubscribeToEventsParam(start_event_id=start_event_id)
        return self._transport.method(request)(request, metadata=self.metadata, timeout=timeout)

    def pages(self, request: Any) -> Iterator[list[Any]]:
        """Query page after page, until the token is empty."""
        while True:
            response = self.send(request)
            yield rows_of(response)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def all(self, request: Any) -> list[Any]:
        return [row for page in self.pages(request) for row in page]

    def events(self, **filters: Any) -> list[pb.Event]:
        """All events of the channel that pass the filters, ascending."""
        return self.all(pb.QueryEventsParam(page_size=1000, filter=pb.EventQueryFilter(**filters)))

    def register_plan(self, **changes: Any) -> pb.ComputePlan:
        return self.send(new_plan(**changes))

    def register_function(
        self, status: "pb.FunctionStatus.ValueType" = pb.FUNCTION_STATUS_READY, **changes: Any
    ) -> pb.Function:
        """Register a function and bring it to a status, READY with an image."""
        function = self.send(new_function(**changes))
        if status in (pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_READY, pb.FUNCTION_STATUS_FAILED):
            self.act_on_function(function, pb.FUNCTION_ACTION_BUILDING)
        if status == pb.FUNCTION_STATUS_READY:
            self.send(pb.UpdateFunctionParam(key=function.key, name=function.name, image=address()))
            self.act_on_function(function, pb.FUNCTION_ACTION_READY)
        elif status == pb.FUNCTION_STATUS_FAILED:
            self.act_on_function(function, pb.FUNCTION_ACTION_FAILED)
        elif status == pb.FUNCTION_STATUS_CANCELED:
            self.act_on_function(function, pb.FUNCTION_ACTION_CANCELED)
        return self.send(pb.GetFunctionParam(key=function.key))

    def register_data_manager(self, **changes: Any) -> pb.DataManager:
        return self.send(new_data_manager(**changes))

    def register_data_sample(self, *managers: Any, **changes: Any) -> pb.DataSample:
        return self.send(samples(new_data_sample(*managers, **changes))).data_samples[0]

    def register_task(self, *arguments: Any, **changes: Any) -> pb.ComputeTask:
        """Register one task; the arguments are those of `new_task`."""
        return self.send(tasks(new_task(*arguments, **changes))).tasks[0]

    def register_model(self, task: Any, **changes: Any) -> pb.Model:
        return self.send(models(new_model(task, **changes))).models[0]

    def act(self, task: Any, action: "pb.ComputeTaskAction.ValueType", log: str = "") -> None:
        self.send(task_action(task, action, log))

    def act_on_function(self, function: pb.Function, action: "pb.FunctionAction.ValueType") -> None:
        self.send(pb.ApplyFunctionActionParam(function_key=function.key, action=action))

    def cancel_plan(self, plan: Any) -> None:
        self.send(pb.ApplyPlanActionParam(key=key_of(plan), action=pb.PLAN_ACTION_CANCELED))

    def beside(self, name: str) -> "Organization":
        """Another organization of the same channel."""
        return Organization(self._transport, name, self.channel)

    def newest(self) -> str:
        """The id of the channel's newest event."""
        return self.send(pb.QueryEventsParam(sort=pb.DESCENDING, page_size=1)).events[0].id

    def decline(self, task: Any) -> None:
        """Decline a task that this organization runs; a call of our own."""
        self.send(pb.DeclineTaskParam(compute_task_key=key_of(task), reason="not approved", function=True))

    def claim_and_complete(self, task: Any, *steps: pb.ProfilingStep) -> None:
        """Run a task as our own workers do."""
        asked = pb.ClaimTaskParam(compute_task_key=key_of(task), claim_id=new_key())
        attempt = self.send(asked).attempt
        self.send(pb.CompleteTaskParam(attempt=attempt, profiling_steps=steps))

    def start(self, task: Any) -> None:
        self.act(task, pb.TASK_ACTION_EXECUTING)

    def complete(self, task: Any, *outputs: str) -> None:
        """Start a task, register a model for each output (for `model` if none is named), and end it."""
        self.start(task)
        for identifier in outputs or ("model",):
            self.register_model(task, compute_task_output_identifier=identifier)
        self.act(task, pb.TASK_ACTION_DONE)

    def plan(self, plan: Any) -> pb.ComputePlan:
        return self.send(pb.GetComputePlanParam(key=key_of(plan)))

    def task(self, task: Any) -> pb.ComputeTask:
        return self.send(pb.GetTaskParam(key=key_of(task)))

    def status(self, task: Any) -> str:
        return pb.ComputeTaskStatus.Name(self.task(task).status)

    def task_in(self, status: str, plan: Any = None, **changes: Any) -> pb.ComputeTask:
        """Register a task that this organization owns and brings to a status; it must be its worker."""
        plan = plan or self.register_plan()
        changes = {"worker": self.name, **changes}
        if status in ("STATUS_WAITING_FOR_BUILDER_SLOT", "STATUS_BUILDING"):
            building = status == "STATUS_BUILDING"
            function = self.register_function(pb.FUNCTION_STATUS_BUILDING if building else pb.FUNCTION_STATUS_WAITING)
            return self.register_task(function, plan, **changes)
        function = self.register_function()
        if status == "STATUS_WAITING_FOR_PARENT_TASKS":
            parent = self.register_task(function, plan, worker=self.name)
            return self.register_task(function, plan, [parent], **changes)
        task = self.register_task(function, plan, **changes)
        if status in ("STATUS_EXECUTING", "STATUS_DONE"):
            self.start(task)
        if status == "STATUS_DONE":
            self.register_model(task)
            self.act(task, pb.TASK_ACTION_DONE)
        elif status == "STATUS_CANCELED":
            self.act(task, pb.TASK_ACTION_CANCELED)
        elif status == "STATUS_FAILED":
            self.act(task, pb.TASK_ACTION_FAILED)
        return self.task(task)


def rows_of(response: Any) -> list[Any]:
    """The rows of a page, which are the one repeated field of the answer."""
    (field,) = (field for field in response.DESCRIPTOR.fields if field.is_repeated)
    return list(getattr(response, field.name))


def task_action(task: Any, action: "pb.ComputeTaskAction.ValueType", log: str = "") -> pb.ApplyTaskActionParam:
    return pb.ApplyTaskActionParam(compute_task_key=key_of(task), action=action, log=log)
