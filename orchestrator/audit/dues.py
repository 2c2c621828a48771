"""What one call must still tell: consequences that commit with their cause, as the event that must follow."""

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.audit.violations import Rule, Violation

Due = tuple[str, ...]
"""Names the event that is due: a kind, a key, and a state where it matters."""


def of(asset: object) -> Due:
    """Return what an event of an asset settles, empty when nothing ever waits for it."""
    match asset:
        case pb.ComputeTask():
            return "task", asset.key, str(asset.status)
        case pb.Function():
            return "function", asset.key, str(asset.status)
        case pb.ComputePlan() if asset.HasField("cancelation_date") or asset.HasField("failure_date"):
            return "plan", asset.key
        case pb.ComputeTaskOutputAsset():
            return "output", asset.asset_key
    return ()


class Dues:
    """The events that are due before the call ends.

    The events of a call are neighbours and bear one time, so it has ended when another time comes.
    """

    def __init__(self) -> None:
        self._time = Timestamp()
        self._open: dict[Due, Violation] = {}

    def expect(self, due: Due, otherwise: Violation) -> None:
        """Expect an event in this call; `otherwise` is what it means if it does not come."""
        self._open.setdefault(due, otherwise)

    def meet(self, event: pb.Event, due: Due) -> Iterator[Violation]:
        """Begin with the next event, which ends the call before it if it is of another; `due` is what it settles."""
        if event.timestamp != self._time:
            if due in self._open:
                times = f"{event.timestamp.ToJsonString()}, and what caused it in the same call at"
                words = f"it is told at {times} {self._time.ToJsonString()}"
                yield Violation(Rule.ONE_TIME, event.asset_key, event.id, words)
            else:
                yield from self.end()
            self._time = Timestamp(seconds=event.timestamp.seconds, nanos=event.timestamp.nanos)

    def settle(self, due: Due) -> bool:
        """Take note that an event came; return whether it was due."""
        return self._open.pop(due, None) is not None

    def end(self) -> Iterator[Violation]:
        """End the call; what is still due will not come."""
        yield from self._open.values()
        self._open.clear()
