"""Growth: rows again, once many tasks are stored. The yardstick is the same row before."""

import statistics
from collections.abc import Callable
from functools import partial

from google.protobuf.empty_pb2 import Empty

from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import PLANS, function, once, plan, register, settle
from benchmarks.planting import Template
from benchmarks.requests import federated
from benchmarks.rows import life, queries, unblock
from benchmarks.rows.register import rate as registered
from benchmarks.side import CALLERS, Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_TEMPLATE = 1_000
_BATCH = 10


def _lives(clients: int) -> Callable[[Stage, Side], Numbers]:
    def measure(stage: Stage, side: Side) -> Numbers:
        done = life.live(stage, side, "older", clients)
        return {
            "lives": Number(done.lives / done.seconds, "tasks/s"),
            "server's processor": Number(done.server / done.lives * 1e6, "µs a task"),
            "Postgres' processor": Number(done.database / done.lives * 1e6, "µs a task"),
        }

    return measure


def _registration(stage: Stage, side: Side) -> Numbers:
    return {"tasks": Number(registered(stage, side, stage.sizes.registered[0], 1_000), "tasks/s")}


_AGAIN: dict[str, Callable[[Stage, Side], Numbers]] = {
    "life 1": _lives(1),
    "life 8": _lives(8),
    "register": _registration,
    "unblock": unblock.fan_out,
    "page": queries.page,
    "plans": queries.plans,
}


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows, first with what the rows before left, then for each count of stored tasks."""
    return [
        Row(f"growth {stored:,} {name}", f"{name}, with {stored:,} tasks stored", partial(_measure, stored, name))
        for stored in (0, *sizes.stored)
        for name in _AGAIN
    ]


def _measure(stored: int, name: str, stage: Stage, side: Side) -> Numbers:
    _plant(stage, side, stored)
    numbers = _AGAIN[name](stage, side)
    before: list[Numbers] = once(side, ("growth", name), list)
    if not stored:
        before.append(numbers)
    if not stored or not before:
        return numbers
    return {
        key: Number(number.value, number.unit, statistics.median(each[key].value for each in before), "before")
        for key, number in numbers.items()
    }


def _plant(stage: Stage, side: Side, stored: int) -> None:
    """Have so many tasks stored, ended and with two events each: they were registered, and then cancelled."""
    planted = int(side.kept.get("planted", 0))
    if stored <= planted:
        return
    count = min(_TEMPLATE, stored)
    key = plan(side, "planted")
    tasks = federated(count, function(side), key, CALLERS)
    register(side, tasks)
    cancel = pb.ApplyPlanActionParam(key=key, action=pb.PLAN_ACTION_CANCELED)
    side.send(f"{PLANS}/ApplyPlanAction", cancel, Empty)
    settle(stage, side)
    with stage.connect(side) as connection:
        template = Template(connection, [key, *(task.key for task in tasks)])
        copies = (stored - planted) // count
        for first in range(1, copies + 1, _BATCH):
            template.copy(template.copies(first, min(_BATCH, copies + 1 - first)))
        connection.execute("VACUUM ANALYZE")
    side.kept["planted"] = stored
