"""Waits until the processes of a cancelled compute plan have stopped, and shows meanwhile how far it has come."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.live import Live

from orchestrator import protos as pb
from orchestrator.cli.tables import age, table
from orchestrator.client import Client
from orchestrator.client.printing import printable

_PERIOD_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """How many attempts of an organization have come so far, and how long ago the last one did.

    Args:
        count: of attempts.
        age: None where there is none.
    """

    count: int
    age: timedelta | None


@dataclass(frozen=True)
class Share:
    """The attempts of an organization that ran when their tasks were cancelled."""

    organization: str
    requested: Step
    delivered: Step
    stopped: Step

    @property
    def ended(self) -> bool:
        """Whether all have stopped."""
        return self.stopped.count == self.requested.count


def shares(cancellation: pb.Cancellation) -> list[Share]:
    """Return how far a cancellation has come at each organization, by their names."""
    now = cancellation.now.ToDatetime(UTC)
    receipts = sorted(cancellation.receipts, key=lambda receipt: receipt.worker)
    return [_share(name, list(group), now) for name, group in groupby(receipts, lambda receipt: receipt.worker)]


def _share(organization: str, receipts: Sequence[pb.StopReceipt], now: datetime) -> Share:
    return Share(
        organization,
        _step((receipt.requested for receipt in receipts), now),
        _step((receipt.delivered for receipt in receipts if receipt.HasField("delivered")), now),
        _step((receipt.stopped for receipt in receipts if receipt.HasField("stopped")), now),
    )


def _step(moments: Iterable[Timestamp], now: datetime) -> Step:
    ages = [now - moment.ToDatetime(UTC) for moment in moments]
    return Step(len(ages), min(ages, default=None))


def wait(client: Client, plan: str, timeout: float, console: Console) -> list[Share]:
    """Wait until all processes have stopped, or the time is over; return what was known last.

    Args:
        client: who asks.
        plan: the key of a cancelled compute plan.
        timeout: most seconds.
        console: a terminal has a table that moves, anything else a line for each change.
    """
    if not console.is_terminal:
        told: dict[str, str] = {}
        known: list[Share] = []
        for known in _known(client, plan, timeout):
            for share in known:
                if told.get(share.organization) != (counts := _counts(share)):
                    told[share.organization] = counts
                    console.print(f"{printable(share.organization)}: {_line(share)}", soft_wrap=True, markup=False)
        return known
    with Live(console=console, auto_refresh=False) as live:
        for known in _known(client, plan, timeout):
            live.update(table("organization", "requested", "delivered", "stopped", rows=map(_row, known)), refresh=True)
    return known


def _known(client: Client, plan: str, timeout: float) -> Iterator[list[Share]]:
    deadline = time.monotonic() + timeout
    while True:
        known = shares(client.worker.GetCancellation(pb.GetCancellationParam(compute_plan_key=plan)))
        yield known
        left = deadline - time.monotonic()
        if left <= 0 or all(share.ended for share in known):
            return
        time.sleep(min(_PERIOD_SECONDS, left))


def _counts(share: Share) -> str:
    return f"{share.requested.count} {share.delivered.count} {share.stopped.count}"


def _steps(share: Share) -> Iterator[str]:
    for step in (share.requested, share.delivered, share.stopped):
        ago = "" if step.age is None else f" ({age(step.age)} ago)"
        yield f"{step.count}{ago}"


def _line(share: Share) -> str:
    requested, delivered, stopped = _steps(share)
    return f"requested {requested}, delivered {delivered}, stopped {stopped}"


def _row(share: Share) -> list[str]:
    return [share.organization, *_steps(share)]
