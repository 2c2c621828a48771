"""Steady load: whether the rate stays flat, and what is left lying about in the tables.

Eight clients make tasks Done for minutes, while one reader holds a snapshot for a part of the time (two of fifteen
minutes), which keeps Postgres from removing what was replaced since.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import READER, driven, ready_tasks
from benchmarks.requests import worker_life
from benchmarks.rows.life import rate
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

_CLIENTS = 8
_SLICES = 15
_HELD = (5, 6)  # from the beginning of the one to the end of the other
_ENOUGH = 1.5


def rows(sizes: Sizes) -> list[Row]:
    """Return the one row, or none where no time is given to it."""
    about = f"{sizes.steady:g} minutes of load by {_CLIENTS} clients, a snapshot held for 2 of {_SLICES} parts"
    return [Row("steady", about, _measure, once=True)] if sizes.steady else []


def _measure(stage: Stage, side: Side) -> Numbers:
    seconds = stage.sizes.steady * 60 / _SLICES
    expected, lived, rates = rate(stage, side, "claimed", _CLIENTS), 0, []
    with stage.connect(side) as connection, ExitStack() as held:
        size = _size(connection)
        for number in range(_SLICES):
            # Registration is part of the load: as many as can be done, and some.
            lives = [worker_life(key) for key in ready_tasks(side, int(_ENOUGH * expected * seconds) + _CLIENTS)]
            if number == _HELD[0]:
                held.enter_context(_snapshot(stage, side))
            done = driven(stage, side, _CLIENTS, lives, seconds)
            if number == _HELD[1]:
                held.close()
            expected, lived = done.lives / done.seconds, lived + done.lives
            rates.append(expected)
        dead, live = _tuples(connection)
        grown = _size(connection) - size
    first, last = rates[: _SLICES // 3], rates[-_SLICES // 3 :]
    return {
        "rate, first third": Number(statistics.median(first), "tasks/s"),
        "rate, last third": Number(statistics.median(last), "tasks/s", statistics.median(first), "the first third"),
        "rate, lowest": Number(min(rates), "tasks/s", statistics.median(rates), "the median"),
        "dead tuples": Number(dead, "tuples", live, "live ones"),
        "disk": Number(grown / lived, "B a task"),
    }


@contextmanager
def _snapshot(stage: Stage, side: Side) -> Iterator[None]:
    """Have a reader that sees the database as it is now, all the while."""
    with stage.connect(side) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT set_config('application_name', %s, false)", [READER])
        with connection.transaction():
            connection.execute("SELECT")
            yield


def _size(connection: "psycopg.Connection[Any]") -> float:
    (size,) = connection.execute("SELECT pg_database_size(current_database())::float8").fetchone() or (0.0,)
    return float(size)


def _tuples(connection: "psycopg.Connection[Any]") -> tuple[float, float]:
    query = "SELECT sum(n_dead_tup)::float8, sum(n_live_tup)::float8 FROM pg_stat_user_tables"
    dead, live = connection.execute(query).fetchone() or (0.0, 0.0)
    return float(dead), float(live)
