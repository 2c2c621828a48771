"""What tells whether the machinery lives: when each sweep ran last, each node was heard, each queue was read."""

from collections.abc import Sequence
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
class Vitals:
    """The sweeps, the nodes and the queues at one moment.

    Args:
        presence: seconds since a server noted that it serves, as without that no lease ends; None where none ever did.
        sweeps: those that ran.
        nodes: those that were heard.
        queues: those of which a node was heard.
    """

    presence: float | None
    sweeps: Sequence[SweepVitals]
    nodes: Sequence[NodeVitals]
    queues: Sequence[QueueVitals]
