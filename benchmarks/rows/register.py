"""Registration of a federated graph: ten organizations, rounds of local tasks and an aggregate.

The yardstick is COPY alone: as many rows of the same bytes, as the server itself wrote them.
"""

import time
from functools import partial

from benchmarks.clients import Driven
from benchmarks.measure import Number, Numbers, Row
from benchmarks.memory import Peak
from benchmarks.network import driven, function, plan, register
from benchmarks.planting import Template
from benchmarks.requests import federated, registrations
from benchmarks.side import CALLERS, Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

_TEMPLATE = 1_000
_SECONDS = 300.0


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: several sizes in one call, calls of a thousand, one by one."""
    return [
        *(
            Row(f"register {count} at once", f"{count:,} tasks in one call", partial(_measure, count, count))
            for count in sizes.registered
        ),
        Row(
            "register by thousands",
            f"{sizes.registered_in_calls:,} tasks in calls of 1,000",
            partial(_measure, sizes.registered_in_calls, 1_000),
        ),
        Row(
            "register one by one",
            f"{sizes.registered_alone:,} tasks, one a call",
            partial(_measure, sizes.registered_alone, 1),
        ),
    ]


def _measure(count: int, size: int, stage: Stage, side: Side) -> Numbers:
    copied = stage.once(("copy", side.name), lambda: _copy_rate(stage, side))
    with Peak(side.servers) as peak:
        done = _driven(stage, side, count, size)
    return {
        "tasks": Number(count / done.seconds, "tasks/s", copied, "COPY alone"),
        "server's processor": Number(done.server / count * 1e6, "µs a task"),
        "Postgres' processor": Number(done.database / count * 1e6, "µs a task"),
        "peak of the server": Number(peak.megabytes, "MB"),
    }


def rate(stage: Stage, side: Side, count: int, size: int) -> float:
    """Return how many tasks a second are registered, so many a call.

    Raises:
        BenchError: a call was refused.
    """
    return count / _driven(stage, side, count, size).seconds


def _driven(stage: Stage, side: Side, count: int, size: int) -> Driven:
    steps = list(registrations(federated(count, function(side), plan(side, "registration"), CALLERS), size))
    return driven(stage, side, 1, [steps], _SECONDS)


def _copy_rate(stage: Stage, side: Side) -> float:
    count = min(_TEMPLATE, stage.sizes.registered[0])
    key = plan(side, "template")
    tasks = federated(count, function(side), key, CALLERS)
    register(side, tasks)
    with stage.connect(side) as connection:
        template = Template(connection, [key, *(task.key for task in tasks)])
        copies = max(1, min(10, stage.sizes.registered_in_calls // count))
        written = template.copies(1, copies)
        with side.paused():
            begun = time.perf_counter()
            template.copy(written)
            return copies * count / (time.perf_counter() - begun)
