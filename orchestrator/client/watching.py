"""Follows a compute plan through the channel's events, over lost connections, to its end."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import grpc

from orchestrator import protos as pb
from orchestrator.client.errors import CallError
from orchestrator.client.progress import Progress
from orchestrator.client.steps import Call, Steps, about

PATIENCE = 300.0
"""Seconds that a watcher tries to get its connection back."""

# Who watches nothing yet may have given a wrong address, and wants to hear it.
_FIRST_PATIENCE = 15.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

Kind: TypeAlias = Literal["created", "updated", "disabled"]
Asset: TypeAlias = (
    pb.ComputePlan
    | pb.ComputeTask
    | pb.ComputeTaskOutputAsset
    | pb.Model
    | pb.Performance
    | pb.FailureReport
    | pb.ProfilingStep
)

_KINDS: dict[int, Kind] = {
    pb.EVENT_ASSET_CREATED: "created",
    pb.EVENT_ASSET_UPDATED: "updated",
    pb.EVENT_ASSET_DISABLED: "disabled",
}


@dataclass(frozen=True)
class Event:
    """One thing that happened to a compute plan.

    match event:
        case Event(asset=pb.ComputeTask() as task): ...
        case Event(asset=pb.Performance() as performance): ...

    Args:
        id: a UUID, unique.
        time: when, in UTC.
        kind: what happened to the asset.
        asset: as it was after that: the plan, a task, or what belongs to a task.
        reason: why, for people; may be empty.
    """

    id: str
    time: datetime
    kind: Kind
    asset: Asset
    reason: str


class Watch:
    """Where a watcher of one compute plan is.

    Args:
        key: of the plan.
        expected: keys of tasks that it will have.
        patience: seconds to try when the connection is lost.

    Attributes:
        progress: the plan and its tasks, after the last event.
    """

    def __init__(self, key: str, expected: Iterable[str] = (), patience: float = PATIENCE) -> None:
        self.key = key.lower()
        self.progress = Progress(expected=expected)
        self._patience = patience
        self._last = ""
        self._functions: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether the plan has ended."""
        return self.progress.ended

    @property
    def request(self) -> pb.SubscribeToEventsParam:
        """What to subscribe to now."""
        return pb.SubscribeToEventsParam(start_event_id=self._last)

    def begin(self) -> Steps[list[Event]]:
        """Find the event that the plan begins with, and take it; over a restart of the server.

        Raises:
            CallError: there is no such plan, or the orchestrator does not answer.
        """
        wanted = pb.QueryEventsParam(
            page_size=1,
            filter=pb.EventQueryFilter(
                asset_key=self.key, asset_kind=pb.ASSET_COMPUTE_PLAN, event_kind=pb.EVENT_ASSET_CREATED
            ),
        )
        yield from self._patiently(self._ask, min(self._patience, _FIRST_PATIENCE))
        found = yield from self._patiently(lambda client: client.events.QueryEvents(wanted), self._patience)
        return [event for raw in found.events for event in self.take(raw)]

    def take(self, raw: pb.Event) -> list[Event]:
        """Take note of the channel's next event, and return it where it is about the plan."""
        self._last = raw.id
        name = raw.WhichOneof("asset")
        asset = getattr(raw, name) if name else None
        if not self._concerns(asset):
            return []
        if isinstance(asset, pb.ComputePlan):
            self.progress.plan = asset
        elif isinstance(asset, pb.ComputeTask):
            self._functions.add(asset.function_key)
            self.progress.see(asset, raw.event_kind == pb.EVENT_ASSET_CREATED)
        moment = raw.timestamp.ToDatetime(tzinfo=UTC)
        return [Event(raw.id, moment, _KINDS[raw.event_kind], cast(Asset, asset), raw.metadata.get("reason", ""))]

    def resume(self, error: grpc.RpcError | None) -> Steps[None]:
        """Wait until the orchestrator answers again.

        Args:
            error: what ended the subscription; None if the server did.

        Raises:
            CallError: it was refused, or the patience is over.
        """
        failure = CallError.of(error) if error is not None else None
        if failure is not None and not failure.lost:
            raise failure
        yield max(failure.pause if failure else 0.0, about(_FIRST_PAUSE))
        yield from self._patiently(self._ask, self._patience)

    def _patiently(self, call: Call, patience: float) -> Steps[Any]:
        """Make a call that changes nothing until it is answered."""
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return (yield call)
            except CallError as failure:
                if not failure.lost or time.monotonic() > deadline:
                    raise
                asked = failure.pause
            pause = min(2 * pause, _LONGEST_PAUSE)
            yield max(asked, about(pause))

    @property
    def _ask(self) -> "partial[object]":
        return partial(_get_plan, key=self.key)

    def _concerns(self, asset: object) -> bool:
        match asset:
            case pb.ComputePlan():
                return asset.key == self.key
            case pb.ComputeTask():
                return asset.compute_plan_key == self.key
            case pb.Model() | pb.Performance() | pb.ComputeTaskOutputAsset():
                return asset.compute_task_key in self.progress.tasks
            case pb.ProfilingStep():
                return asset.asset_key in self.progress.tasks
            case pb.FailureReport():
                return asset.asset_key in self.progress.tasks or asset.asset_key in self._functions
        return False


def _get_plan(client: object, key: str) -> object:
    return client.plans.GetPlan(pb.GetComputePlanParam(key=key))  # type: ignore[attr-defined]
