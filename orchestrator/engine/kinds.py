"""Kinds of work: what differs between one kind and another, and the registry.

A kind is found by its entry point in the group `orchestrator.kinds`, so that a distribution that is installed beside
this one brings it without a change here. The engine queues, claims, leases, retries and ends work of every kind in the
same way, and asks the kind only what this Protocol says.

A kind that cannot be imported is left out, and each process says so once: its tasks wait, and all others go on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.errors import UnknownKindError
from orchestrator.core.states import TaskStatus
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction

log = structlog.get_logger()

GROUP = "orchestrator.kinds"
"""The group of entry points; the name of one is that of its kind."""


@dataclass(frozen=True)
class Policies:
    """What a task, or its plan, says of its attempts.

    Args:
        overrides: metadata that override the retry policies of the settings; the first that says something counts.
        ends_at: when its plan must have ended, None without a limit.
        time_limit: how long one run of it may take, None without a limit.
    """

    overrides: Sequence[Mapping[str, str]] = ()
    ends_at: datetime | None = None
    time_limit: timedelta | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt has failed for good.

    Args:
        fault: what ended it.
        report: the worker's, None where the worker is lost.
    """

    fault: FaultKind
    report: pb.FailTaskParam | None


@dataclass(frozen=True)
class Service:
    """A gRPC service of a kind.

    Args:
        descriptor: of the service; its messages must be imported.
        use_cases: by the name of the method, a function from the transaction of a call and its request to the response.
        gathered: the same of methods that take their request in parts: from its parts to the response.
        parted: the same of methods that are answered in parts: from a request to the parts of its response.
        of_workers: whether workers call it by themselves, so that work is lost without it.
    """

    descriptor: ServiceDescriptor
    use_cases: Mapping[str, Callable[[Any, Any], Message]]
    gathered: Mapping[str, Callable[[Any, Iterable[Any]], Message]] = field(default_factory=dict)
    parted: Mapping[str, Callable[[Any, Any], Sequence[Message]]] = field(default_factory=dict)
    of_workers: bool = False


class Kind(Protocol):
    """One kind of work."""

    name: str
    """How rows name it: that of its entry point."""

    asset_kind: int
    """The number of its tasks in events (`core.kinds`)."""

    own_assets: Mapping[int, type[Message]]
    """The messages that its events bear, by their numbers; empty for the contract's."""

    plan_noun: str
    """What people call a plan of it."""

    services: Sequence[Service]
    """Those that only this kind has."""

    follows_done: bool
    """Whether `ended` does something when a task is Done."""

    guards_claims: bool
    """Whether `admit` may refuse a claim. A claim of such a kind is a transaction of several statements."""

    def admit(self, transaction: Transaction, task: Task, node: str) -> None:
        """Check that a node may take a task that is To do now; asked only where the kind guards its claims.

        Raises:
            OrchestratorError: it may not; the task stays as it is.
        """

    def reads(self, transaction: Transaction, queue: str) -> bool:
        """Tell whether the caller's workers may read a queue that is no organization's; False where it is not known."""

    def state(self, status: TaskStatus) -> bytes:
        """Return what says a state when it is appended to a definition: so it is the task as clients see it.

        The later of two values of a field wins in protobuf, so that a definition is never written twice.
        """

    def hand_over(self, transaction: Transaction, task: Task, answer: pb.ClaimTaskResponse) -> None:
        """Fill in what a worker needs that has claimed a task.

        It is called again where a claim is repeated. Nothing is written, unless the kind guards its claims: then what
        it writes is kept together with the claim.
        """

    def returned(self, transaction: Transaction, task: Task, fault: FaultKind | None) -> None:
        """Do what follows when a task is To do again: an attempt was released, or ended in a fault and is retried.

        Args:
            transaction: of its worker, or of a sweep.
            task: as it is now.
            fault: what ended the attempt, None where it was released.
        """

    def complete(self, transaction: Transaction, task: Task, report: pb.CompleteTaskParam) -> None:
        """Register what an attempt has made; its task is Done in this transaction.

        Raises:
            OrchestratorError: a result does not fit; nothing is kept, and the attempt still holds its task.
        """

    def fault(self, report: pb.FailTaskParam) -> FaultKind:
        """Return what ended an attempt, by its worker's report.

        Raises:
            OrchestratorError: the report is not as it should be.
        """

    def fail(self, transaction: Transaction, task: Task, failure: Failure) -> None:
        """Register why a task has failed for good; it is Failed in this transaction."""

    def ended(self, transaction: Transaction, task: Task) -> None:
        """Do what follows for its plan when a task has ended; of one that was stopped the latch is held alone."""

    def policies(self, transaction: Transaction, task: Task) -> Policies:
        """Return what a task and its plan say of its attempts."""


@dataclass(frozen=True)
class _Registry:
    """The kinds by their names, and of those that were left out what they met."""

    kinds: Mapping[str, Kind]
    left_out: Mapping[str, str]


@cache
def _registry() -> _Registry:
    found: dict[str, Kind] = {}
    left_out: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = cast(Kind, point.load())
        except Exception as error:
            left_out[point.name] = f"its entry point {point.value} cannot be imported: {error!r}"
            log.error("kind.left_out", kind=point.name, entry_point=point.value, error=repr(error))
    return _Registry(found, left_out)


def every() -> Sequence[Kind]:
    """Return all kinds."""
    return list(_registry().kinds.values())


def names() -> list[str]:
    """Return the names of all kinds; a sweep takes theirs first, so that what it must leave alone fills no batch."""
    return list(_registry().kinds)


def of(name: str) -> Kind:
    """Return a kind.

    Raises:
        UnknownKindError: there is none of this name.
    """
    registry = _registry()
    if name in registry.kinds:
        return registry.kinds[name]
    known = ", ".join(sorted(registry.kinds))
    reason = registry.left_out.get(name)
    advice = f"{reason}; mend or install" if reason else "install"
    raise UnknownKindError(
        f"kind of work {name!r} is not known here ({known} are): {advice} what brings it, also where beat runs"
    )


def tell(transaction: Transaction, task: Task, reason: str) -> None:
    """Tell, in the channel's events, that a task was moved, and why."""
    kind = of(task.kind)
    transaction.events.moved(str(task.key), kind.asset_kind, task.definition + kind.state(task.status), reason)


def states(name: str) -> str:
    """Return what stands in a statement for all kinds that are known, with what says a state in each.

    It is a table of kind, asset_kind and state, whose parameters `state_parameters` gives.

    Args:
        name: of the table.
    """
    # The limit is all of them: of arrays that Postgres does not know it expects ten rows, and so plans anew each time.
    return f"""
        (SELECT kind, asset_kind, state
         FROM unnest(CAST(:{name}_kinds AS text[]), CAST(:{name}_asset_kinds AS smallint[]),
                     CAST(:{name}_states AS bytea[])) AS each (kind, asset_kind, state)
         LIMIT cardinality(CAST(:{name}_kinds AS text[]))) AS {name}
    """  # noqa: S608 - a name of ours


@cache
def state_parameters(name: str, status: TaskStatus) -> Mapping[str, object]:
    """Return the parameters of `states` for one state."""
    known = _registry().kinds
    return {
        f"{name}_kinds": list(known),
        f"{name}_asset_kinds": [kind.asset_kind for kind in known.values()],
        f"{name}_states": [kind.state(status) for kind in known.values()],
    }


def poke(transaction: Transaction, task: Task) -> None:
    """Ask the workers of a task's queue to claim its next attempt; one without a queue is its kind's to make Done."""
    if task.queue:
        transaction.pokes.run(task.queue, task.key, task.attempts + 1, task.priority)


def own_type(number: int) -> type[Message] | None:
    """Return the message that events of a number of our own bear, None where no kind says so."""
    for kind in every():
        if number in kind.own_assets:
            return kind.own_assets[number]
    return None
