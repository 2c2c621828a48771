"""What tells whether the machinery lives: when each sweep ran last, each node was heard, each queue was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

CERTIFICATE_NOTICE = timedelta(days=30)
"""How long before the end of a certificate its owner is told."""


@dataclass(frozen=True)
class SweepVitals:
    """A sweep that has run at least once.

    Args:
        name: of the sweep.
        age: seconds since it ran last.
        repaired: how many things it has ever repaired.
    """

    name: str
    age: float
    repaired: int


@dataclass(frozen=True)
class NodeVitals:
    """A worker process that was heard at least once.

    Args:
        channel: where it was heard.
        organization: whose it is.
        name: of the node.
        age: seconds since it was heard last.
        attempts: how many it ran then.
        certificate: seconds until its certificate ends; None where it showed none.
    """

    channel: str
    organization: str
    name: str
    age: float
    attempts: int
    certificate: float | None = None


@dataclass(frozen=True)
class QueueVitals:
    """A queue of which a node was heard at least once.

    Args:
        name: of the queue, as `org.hospital-1`.
        age: seconds since any of its nodes was heard, in whatever channel.
    """

    name: str
    age: float


@dataclass(frozen=True)
class StateTotals:
    """How many plans that an organization owns, or tasks that it runs, are in a state.

    Args:
        organization: which.
        state: as people call it.
        count: how many.
    """

    organization: str
    state: str
    count: int


@dataclass(frozen=True)
class QueueTotals:
    """What is To do in a queue.

    Args:
        name: of the queue.
        depth: how many tasks.
        oldest: seconds since the first of them became To do.
    """

    name: str
    depth: int
    oldest: float


@dataclass(frozen=True)
class AttemptTotals:
    """How the attempts of an organization have ended.

    Args:
        organization: which.
        ended: how many, by the state that they left their task in, and the kind of fault; empty without one.
        within: how many took so many seconds at most.
        seconds: that all of them took together.
    """

    organization: str
    ended: Mapping[tuple[str, str], int]
    within: Sequence[tuple[int, int]]
    seconds: float


@dataclass(frozen=True)
class Totals:
    """What was counted last."""

    tasks: Sequence[StateTotals]
    plans: Sequence[StateTotals]
    queues: Sequence[QueueTotals]
    attempts: Sequence[AttemptTotals]


@dataclass(frozen=True)
class Vitals:
    """The sweeps, the nodes and the queues at one moment.

    Args:
        presence: seconds since a server noted that it serves, as without that no lease ends; None where none ever did.
        sweeps: those that ran.
        nodes: those that were heard.
        queues: those of which a node was heard.
        totals: what was counted of plans, tasks and attempts.
        unplaced: seconds since the first event was written that has no place in the order of readers; 0 where all have.
    """

    presence: float | None
    sweeps: Sequence[SweepVitals]
    nodes: Sequence[NodeVitals]
    queues: Sequence[QueueVitals]
    totals: Totals
    unplaced: float = 0.0
