"""Unblocking: what the end of a parent costs by its children."""

import statistics
from functools import partial

from benchmarks.load import Step
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import driven, function, plan, register
from benchmarks.requests import act, new_task, older_life
from benchmarks.side import CALLERS, Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_SECONDS = 300.0


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: one parent of many children, many parents of one child."""
    return [
        Row("unblock many children", f"Done of the parent of {sizes.children:,} children", fan_out),
        Row(
            "unblock one child",
            f"Done of each of the {sizes.parents:,} parents of one child, 8 clients",
            partial(_fan_in, 8),
        ),
    ]


def fan_out(stage: Stage, side: Side) -> Numbers:
    """Measure the Done of a parent of many children."""
    key, worker = plan(side, "fan-out"), CALLERS[0]
    parent = new_task(function(side), key, worker)
    children = [new_task(function(side), key, worker, [parent.key]) for _ in range(stage.sizes.children)]
    register(side, [parent, *children])
    *before, done = older_life(parent.key)
    driven(stage, side, 1, [before])
    ended = driven(stage, side, 1, [[done]], _SECONDS)
    return {
        "Done": Number(ended.latencies[0] * 1000, "ms"),
        "server's processor": Number(ended.server * 1000, "ms"),
        "Postgres' processor": Number(ended.database * 1000, "ms"),
    }


def _fan_in(clients: int, stage: Stage, side: Side) -> Numbers:
    key, worker = plan(side, "fan-in"), CALLERS[0]
    parents = [new_task(function(side), key, worker) for _ in range(stage.sizes.parents)]
    child = new_task(function(side), key, worker, [parent.key for parent in parents])
    register(side, [*parents, child])
    driven(stage, side, clients, [older_life(parent.key)[:2] for parent in parents], _SECONDS)
    ends: list[list[Step]] = [[act(parent.key, pb.TASK_ACTION_DONE)] for parent in parents]
    ended = driven(stage, side, clients, ends, _SECONDS)
    return {
        "Done, p50": Number(statistics.median(ended.latencies) * 1000, "ms"),
        "parents": Number(ended.calls / ended.seconds, "tasks/s"),
    }
