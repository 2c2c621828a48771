"""What a number of events of another server amount to: the newest message of each asset, and how tasks moved."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.engine.adopted import Run
from orchestrator.trace.events import FIELD_OF_KIND


@dataclass(frozen=True)
class Move:
    """A state of a task that an event tells of, and when it came to it."""

    status: "pb.ComputeTaskStatus.ValueType"
    at: datetime


@dataclass(frozen=True)
class Batch:
    """What events amount to.

    Args:
        events: those that can be kept, in their order.
        unread: of the others, which and why.
        newest: by the kind of asset, the newest message of each that is one row, by its key.
        created: the new tasks, by key, as they were registered.
        moves: of each task, by its key, the states that it came to.
        outputs: which output of which task a model fills, by the model's key.
    """

    events: Sequence[pb.Event]
    unread: Sequence[str]
    newest: Mapping["pb.AssetKind.ValueType", Mapping[str, Message]]
    created: Mapping[str, pb.ComputeTask]
    moves: Mapping[str, Sequence[Move]]
    outputs: Mapping[str, pb.ComputeTaskOutputAsset]

    @property
    def times(self) -> list[datetime]:
        """The times of the events."""
        return [_time(event) for event in self.events]


@dataclass
class _Gathered:
    newest: dict["pb.AssetKind.ValueType", dict[str, Message]] = field(default_factory=lambda: defaultdict(dict))
    created: dict[str, pb.ComputeTask] = field(default_factory=dict)
    moves: dict[str, list[Move]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, pb.ComputeTaskOutputAsset] = field(default_factory=dict)

    def add(self, event: pb.Event) -> None:
        match event.asset_kind:
            case pb.ASSET_COMPUTE_TASK:
                task = event.compute_task
                if event.event_kind == pb.EVENT_ASSET_CREATED:
                    self.created[task.key] = task
                self.moves[task.key].append(Move(task.status, _time(event)))
            case pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET:
                filled = event.compute_task_output_asset
                if filled.asset_kind == pb.ASSET_MODEL:
                    self.outputs[filled.asset_key] = filled
            case pb.ASSET_PROFILING_STEP:
                # An event is all that there is of it.
                pass
            case kind:
                message: Message = getattr(event, FIELD_OF_KIND[kind])
                self.newest[kind][event.asset_key] = message


def of(events: Iterable[pb.Event]) -> Batch:
    """Return what events amount to, of which each comes after those before it."""
    kept, unread = list[pb.Event](), list[str]()
    gathered = _Gathered()
    for event in events:
        told = event.WhichOneof("asset")
        if told is None or FIELD_OF_KIND.get(event.asset_kind) != told:
            unread.append(
                f"event {event.id} about {event.asset_key}: an asset of kind {event.asset_kind}, not known here"
            )
            continue
        gathered.add(event)
        kept.append(event)
    return Batch(kept, unread, gathered.newest, gathered.created, gathered.moves, gathered.outputs)


def runs(status: int, attempts: int, moves: Iterable[Move]) -> list[Run]:
    """Return the attempts that began or ended with the moves of a task.

    Args:
        status: in which it was before, 0 where it was not there.
        attempts: how many had begun before.
        moves: in their order.
    """
    found: list[Run] = []
    running = Run(attempts, None) if status == pb.STATUS_EXECUTING else None
    for move in moves:
        if move.status == pb.STATUS_EXECUTING:
            attempts += running is None
            running = running or Run(attempts, move.at)
        elif running is not None:
            found.append(Run(running.number, running.began, move.at, move.status))
            running = None
    if running is not None and running.began is not None:
        found.append(running)
    return found


def _time(event: pb.Event) -> datetime:
    return event.timestamp.ToDatetime(UTC)
