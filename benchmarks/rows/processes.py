"""Server processes: lives of tasks by a server of several processes, beside the same by one."""

from functools import partial

from benchmarks.clients import Driven
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import driven, ready_tasks
from benchmarks.rows.life import KINDS
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

_COUNT = 2


def rows(sizes: Sizes) -> list[Row]:
    """Return a row for each kind of life, by as many clients as there are."""
    clients = max(sizes.clients)
    return [
        Row(
            f"processes {_COUNT} life {kind} {clients}",
            f"tasks from To do to Done: {clients} clients, {_COUNT} server processes",
            partial(_measure, kind, clients),
        )
        for kind in KINDS
    ]


def _measure(kind: str, clients: int, stage: Stage, side: Side) -> Numbers:
    one, several = (_driven(kind, clients, count, stage, side) for count in (1, _COUNT))
    return {
        "lives": Number(several.lives / several.seconds, "tasks/s", one.lives / one.seconds, "one process"),
        "server's processor": Number(
            several.server / several.lives * 1e6, "µs a task", one.server / one.lives * 1e6, "one process"
        ),
        "Postgres' processor": Number(
            several.database / several.lives * 1e6, "µs a task", one.database / one.lives * 1e6, "one process"
        ),
    }


def _driven(kind: str, clients: int, processes: int, stage: Stage, side: Side) -> Driven:
    side.ensure(tls=False, workers=False, processes=processes)
    return driven(stage, side, clients, [KINDS[kind](key) for key in ready_tasks(side, stage.sizes.lives)])
