"""Checks the events of each asset by themselves: created once, then changed only where it may."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.audit.violations import Rule, Violation

TOLERANCE = timedelta(minutes=1)
"""How far times may go back: a call takes its time when it has its first lock and may wait for others after that, and
the clocks of several servers differ."""

_TOLERANCE_NANOSECONDS = int(TOLERANCE.total_seconds()) * 10**9
_MAY_CHANGE: dict[type[Message], tuple[str, ...]] = {
    pb.ComputeTask: ("status",),
    pb.ComputePlan: ("name", "cancelation_date", "failure_date"),
    pb.Function: ("name", "image", "status"),
    pb.DataManager: ("name",),
    pb.DataSample: ("data_manager_keys",),
    pb.Model: ("address",),
}
_FINGERPRINT_BYTES = 16


def of(event: pb.Event) -> Any:
    """Return the snapshot in an event, None where there is none, or one of another asset than the event names."""
    name = event.WhichOneof("asset")
    kind = pb.AssetKind.DESCRIPTOR.values_by_name.get(f"ASSET_{name}".upper())
    if name is None or kind is None or kind.number != event.asset_kind:
        return None
    asset = getattr(event, name)
    return asset if _key_of(asset) == event.asset_key else None


def _key_of(asset: Any) -> str:
    match asset:
        case pb.Organization():
            return asset.id
        case pb.Performance():
            return f"{asset.compute_task_key}|{asset.compute_task_output_identifier}"
        case pb.ComputeTaskOutputAsset():
            return asset.compute_task_key
        case pb.FailureReport() | pb.ProfilingStep():
            return asset.asset_key.lower()
    return str(asset.key)


def definition(asset: Message) -> Message:
    """Return an asset without what may change of it."""
    kept = type(asset)()
    kept.CopyFrom(asset)
    for field in _MAY_CHANGE.get(type(asset), ()):
        kept.ClearField(field)
    return kept


@dataclass(slots=True)
class _Known:
    fingerprint: bytes
    time: int


class Snapshots:
    """A fingerprint of each asset that was created, and the latest time it was told of."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], _Known] = {}

    def __contains__(self, name: tuple[int, str]) -> bool:
        return name in self._known

    def see(self, event: pb.Event, asset: Message) -> Iterator[Violation]:
        """Take the next event of an asset; yield what is wrong with it."""
        name = event.asset_kind, event.asset_key
        content = definition(asset).SerializeToString(deterministic=True)
        fingerprint = blake2b(content, digest_size=_FINGERPRINT_BYTES).digest()
        now = event.timestamp.ToNanoseconds()
        before = self._known.setdefault(name, _Known(fingerprint, now))
        if event.event_kind == pb.EVENT_ASSET_CREATED and "creation_date" in asset.DESCRIPTOR.fields_by_name:
            created = asset.creation_date  # type: ignore[attr-defined]
            if created != event.timestamp:
                words = f"it bears another date of creation, {created.ToJsonString()}, than the event"
                yield wrong(Rule.ONE_TIME, event, words)
        if fingerprint != before.fingerprint:
            yield wrong(Rule.DEFINITION, event, "it has become another: something changed that never does")
        if now < before.time - _TOLERANCE_NANOSECONDS:
            yield wrong(Rule.TIME_ASCENDS, event, f"its time goes back by {(before.time - now) / 1e9:.0f} s")
        before.time = max(now, before.time)


def wrong(rule: Rule, event: pb.Event, words: str) -> Violation:
    """Return what is wrong with an event's asset."""
    return Violation(rule, event.asset_key, event.id, words)
