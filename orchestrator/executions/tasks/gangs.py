"""Gangs: the containers of a federated run that start together or not at all, and when there is room for them.

A server waits for its clients, and clients for their server: of two runs of which each had half of its containers
started, none would end. So a run is let in when every queue has room for all that it will start together there, now or
later, and keeps that room as long as it has a container there that has not ended.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Gang:
    """Containers that wait to start together.

    Args:
        gate: before them.
        plan: of their run.
        wants: queue -> how many of them run there.
        needs: the same of the run's largest gang at each queue.
        since: when they could have started.
    """

    gate: UUID
    plan: UUID
    wants: Mapping[str, int]
    needs: Mapping[str, int]
    since: datetime


@dataclass(frozen=True)
class Room:
    """What there is, and who has it.

    Args:
        slots: of each queue; None where those who read it do not say; a queue that nobody reads is not there.
        held: plan of a run that was let in -> queue -> what it keeps there.
        busy: queue -> plan -> how many of its tasks are run there, or on their way.
    """

    slots: Mapping[str, int | None]
    held: Mapping[UUID, Mapping[str, int]] = field(default_factory=dict)
    busy: Mapping[str, Mapping[UUID, int]] = field(default_factory=dict)

    def free(self, queue: str, plan: UUID, *, patient: bool) -> float:
        """Return how many slots of a queue a run may have.

        Args:
            queue: which.
            plan: of the run.
            patient: leave those alone that others use who are in no gang; else they are believed to end.
        """
        if queue not in self.slots:
            return 0
        slots = self.slots[queue]
        if slots is None:
            return float("inf")
        gangs = {each for each, kept in self.held.items() if kept.get(queue)}
        taken = sum(self.held[each][queue] for each in gangs if each != plan)
        if patient:
            taken += sum(count for each, count in self.busy.get(queue, {}).items() if each not in {*gangs, plan})
        return slots - taken


def let_in(waiting: Sequence[Gang], room: Room, late: Collection[UUID]) -> list[UUID]:
    """Return the gates of the gangs that may start now.

    Who came first is let in first; who came later does not pass by where both could be let in one day.

    Args:
        waiting: all that wait, the oldest first.
        room: what there is.
        late: the gates of those that have waited so long that they wait for gangs alone, and no more for others.
    """
    held = {plan: dict(kept) for plan, kept in room.held.items()}
    kept_for_others: dict[str, int] = defaultdict(int)
    found = []
    for gang in waiting:
        now = Room(room.slots, held, room.busy)
        inside = gang.plan in held
        ahead = {} if inside else kept_for_others
        if _fits(gang, now, ahead, patient=gang.gate not in late):
            found.append(gang.gate)
            held[gang.plan] = dict(gang.needs)
        elif not inside and not hopeless(gang, room):
            for queue, count in gang.needs.items():
                kept_for_others[queue] += count
    return found


def _fits(gang: Gang, room: Room, ahead: Mapping[str, int], *, patient: bool) -> bool:
    def has(queue: str, count: int, *, patient: bool) -> bool:
        return room.free(queue, gang.plan, patient=patient) - ahead.get(queue, 0) >= count

    return all(has(queue, count, patient=False) for queue, count in gang.needs.items()) and all(
        has(queue, count, patient=patient) for queue, count in gang.wants.items()
    )


def hopeless(gang: Gang, room: Room) -> str:
    """Return why a gang can never start as things stand, empty where it can."""
    return "; ".join(_short(gang, room))


def _short(gang: Gang, room: Room) -> Iterator[str]:
    for queue, count in sorted(gang.needs.items()):
        slots = room.slots.get(queue, 0)
        if slots is not None and slots < count:
            has = f"its workers have {slots} slots" if slots else "no worker reads it"
            yield f"{count} containers must run side by side at {queue}, and {has}"
