"""The steps of a run on workers: of each container one, and the gates between them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.executions.graph.containers import Container
from orchestrator.executions.runtimes.steps import NewStep
from orchestrator.executions.tasks.placement import Place

TOGETHER, END, EXIT, EXIT_END = "gate together", "gate end", "gate exit", "gate exit end"
"""What gates are called: containers that start together come after the first; the second comes after all, and the last
two before and after the exit handler. No container's name has a space."""


@dataclass(frozen=True)
class Steps:
    """The steps of a run.

    Args:
        new: parents before children.
        exit_gate: the key of the gate before the exit handler, None without one.
        gangs: key of a gate -> queue -> how many of the containers that start together run there.
    """

    new: Sequence[NewStep]
    exit_gate: UUID | None
    gangs: Mapping[UUID, Mapping[str, int]]


@dataclass
class _Made:
    """The steps so far."""

    central: Place
    places: Mapping[str, Place]
    execution: int
    new: list[NewStep] = field(default_factory=list)
    gangs: dict[UUID, Mapping[str, int]] = field(default_factory=dict)
    ranks: dict[UUID, int] = field(default_factory=dict)

    def gate(self, name: str, parents: Sequence[UUID], key: UUID | None = None) -> UUID:
        return self._add(pb.STEP_ROLE_GATE, None, self.central.worker, "", name, parents, key=key)

    def container(self, each: Container, parents: Sequence[UUID]) -> UUID:
        place = self.places[each.name]
        work = pb.ContainerWork(
            execution=self.execution,
            step=each.name,
            image=each.image,
            command=each.command,
            args=each.args,
            env=each.env,
        )
        role = pb.STEP_ROLE_CONTAINER
        return self._add(role, work, place.worker, place.queue, each.name, parents, each.retries, each.time_limit)

    def _add(
        self,
        role: "pb.StepRole.ValueType",
        work: Message | None,
        worker: str,
        queue: str,
        name: str,
        parents: Sequence[UUID],
        retries: Mapping[str, str] | None = None,
        time_limit: float = 0.0,
        key: UUID | None = None,
    ) -> UUID:
        rank = 1 + max((self.ranks[parent] for parent in parents), default=-1)
        step = NewStep(
            role,
            work,
            worker,
            queue,
            name,
            parents,
            rank,
            retries or {},
            time_limit,
            key=key or uuid4(),
        )
        self.new.append(step)
        self.ranks[step.key] = rank
        return step.key

    def first(self, step: NewStep) -> UUID:
        self.new.append(step)
        self.ranks[step.key] = step.rank
        return step.key


def of(
    execution: int,
    run: Sequence[Container],
    last: Callable[[UUID], Sequence[Container]],
    place: Callable[[Container], Place],
    central: Place,
    *,
    together: bool,
    before: NewStep | None = None,
) -> Steps:
    """Return the steps of a run.

    Args:
        execution: whose.
        run: its containers but for those of the exit handler, parents before children.
        last: from the key of the gate before the exit handler to its containers.
        place: where a container runs.
        central: where the gates' owner is.
        together: whether containers that become ready together start together.
        before: a step that comes before all others.
    """
    exit_gate = uuid4()
    handler = last(exit_gate)
    made = _Made(central, {each.name: place(each) for each in (*run, *handler)}, execution)
    roots = [] if before is None else [made.first(before)]
    made.gate(END, _chained(made, run, roots, together=together))
    if not handler:
        return Steps(made.new, None, made.gangs)
    made.gate(EXIT, [], exit_gate)
    made.gate(EXIT_END, _chained(made, handler, [exit_gate], together=False))
    return Steps(made.new, exit_gate, made.gangs)


def _chained(made: _Made, run: Sequence[Container], roots: Sequence[UUID], *, together: bool) -> list[UUID]:
    """Make the steps of containers; return the keys of those that nothing comes after."""
    groups = Counter(frozenset(each.parents) for each in run)
    queues: dict[frozenset[str], Counter[str]] = {}
    for each in run:
        queues.setdefault(frozenset(each.parents), Counter())[made.places[each.name].queue] += 1
    keys: dict[str, UUID] = {}
    gates: dict[frozenset[str], UUID] = {}
    for each in run:
        group = frozenset(each.parents)
        parents = [keys[name] for name in each.parents] or list(roots)
        if together and groups[group] > 1:
            if group not in gates:
                gates[group] = made.gate(TOGETHER, parents)
                made.gangs[gates[group]] = queues[group]
            parents = [gates[group]]
        keys[each.name] = made.container(each, parents)
    inner = {name for each in run for name in each.parents}
    return [key for name, key in keys.items() if name not in inner]
