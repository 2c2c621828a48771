"""Follows a compute plan through the channel's events, over lost connections, to its end."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC
from functools import partial
from typing import Any, cast

import grpc

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import CallError
from orchestrator.client.event import Asset, Event, Kind
from orchestrator.client.plan import Known, Plan, key_of
from orchestrator.client.progress import Progress
from orchestrator.client.shown import Shown
from orchestrator.client.steps import Call, Steps, about

PATIENCE = 300.0
"""Seconds that a watcher tries to get its connection back."""

# Who watches nothing yet may have given a wrong address, and wants to hear it.
_FIRST_PATIENCE = 15.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# gRPC takes 0 for no limit.
_SOON = 0.001

_KINDS: dict[int, Kind] = {
    pb.EVENT_ASSET_CREATED: "created",
    pb.EVENT_ASSET_UPDATED: "updated",
    pb.EVENT_ASSET_DISABLED: "disabled",
}


class Watch(Shown):
    """Where a watcher of one compute plan is.

    Args:
        key: of the plan, or its beginning.
        expected: keys of tasks that it will have.
        patience: seconds to try when the connection is lost.
        timeout: seconds to watch; None for as long as it takes.

    Attributes:
        progress: the plan and its tasks, after the last event.
    """

    def __init__(
        self, key: str, expected: Iterable[str] = (), patience: float = PATIENCE, timeout: float | None = None
    ) -> None:
        self.key = key.lower()
        self.progress = Progress(expected=expected)
        self._patience = patience
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._last = ""
        self._functions: set[str] = set()

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        return self.progress.facts() if self.progress.plan else {"key": self.key, "state": self.progress.state}

    @property
    def ended(self) -> bool:
        """Whether the plan has ended."""
        return self.progress.ended

    @property
    def left(self) -> float | None:
        """Seconds that a subscription may last; None for as long as it takes."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), _SOON)

    @property
    def request(self) -> pb.SubscribeToEventsParam:
        """What to subscribe to now."""
        return pb.SubscribeToEventsParam(start_event_id=self._last)

    def begin(self) -> Steps[list[Event]]:
        """Find the event that the plan begins with, and take it; over a restart of the server.

        Raises:
            ValueError: no key, or more than one, begins as the one that was given.
            CallError: there is no such plan, or the orchestrator does not answer.
        """
        self.key = yield from keys.whole(self.key, pb.ASSET_COMPUTE_PLAN)
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
            TimeoutError: the time is over.
        """
        self._check_time()
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
                self._check_time()
                asked = failure.pause
            pause = min(2 * pause, _LONGEST_PAUSE)
            yield max(asked, about(pause))

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError(
                f"compute plan {self.key} has not ended after {self._timeout:g} s: {self.progress.told}; it goes on, "
                "and may be waited for again, or cancelled"
            )

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


def new_watch(plan: Known, patience: float = PATIENCE, timeout: float | None = None) -> Watch:
    """Return a watch that is at the beginning of a compute plan; see `Watch`.

    Raises:
        ValueError: the key is no UUID.
    """
    expected = [task.key for task in plan.tasks if not task.reused] if isinstance(plan, Plan) else ()
    return Watch(key_of(plan), expected, patience, timeout)


@contextmanager
def live(watch: Watch, bar: bool) -> Iterator[Callable[[Event], None]]:
    """Show a bar as long as the block lives, where it can be shown and is asked for.

    Args:
        watch: of the plan.
        bar: whether to show one.

    Yields:
        What is told each event, after the watch was.
    """
    shown: AbstractContextManager[Callable[[Event], None]] | None = None
    if bar:
        # Takes a tenth of a second to import, and most programs show nothing.
        from rich.console import Console

        from orchestrator.client import display

        shown = display.bar(watch, Console(stderr=True))
    with shown or nullcontext(lambda _: None) as update:
        yield update
