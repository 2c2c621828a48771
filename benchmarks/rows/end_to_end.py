"""End to end: graphs of tasks that do nothing, run by three organizations' workers.

The yardsticks: as many bare Celery tasks on the same broker, and the same rounds as Celery chords.
"""

import time
from functools import partial

from benchmarks import bare
from benchmarks.errors import BenchError
from benchmarks.load import until_idle
from benchmarks.measure import Number, Numbers, Row
from benchmarks.memory import peak, shared
from benchmarks.network import PLANS, once, plan, register, runnable
from benchmarks.processor import spent
from benchmarks.requests import federated, wide
from benchmarks.side import LEAD, SITES, SLOTS, Side, tree
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_SECONDS = 1800.0
_POLL_SECONDS = 0.01
_LOCALS = SLOTS * len(SITES)


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: a wide graph, a deep one, and the memory of all processes."""
    about = f"{sizes.end_to_end:,} no-op tasks over {len(SITES)} organizations with {SLOTS} slots each"
    return [
        Row("end to end wide", f"{about}, none with a parent", partial(_measure, "wide"), tls=True, workers=True),
        Row("end to end deep", f"{about}, in rounds", partial(_measure, "deep"), tls=True, workers=True),
        Row("memory at rest", "a server that has just started", _at_rest, once=True),
        Row("memory", "all processes after that, and at their peak", _memory, tls=True, workers=True, once=True),
    ]


def _measure(shape: str, stage: Stage, side: Side) -> Numbers:
    count = _count(stage, shape)
    chords = stage.once(("bare", shape), lambda: _bare(stage, shape))
    once(side, "warm", lambda: _run(side, "wide", 2 * _LOCALS))
    before = _spent(stage, side)
    seconds = _run(side, shape, count)
    after = _spent(stage, side)
    beside = "bare Celery" if shape == "wide" else "Celery chords"
    return {
        "tasks": Number(count / seconds, "tasks/s", chords, beside),
        **{f"processor of {name}": Number((after[name] - before[name]) / count * 1e6, "µs a task") for name in after},
    }


def _spent(stage: Stage, side: Side) -> dict[str, float]:
    """Return the seconds of processor of the server, of all workers and asset stores, and of Postgres."""
    workers = [process for processes in side.workers.values() for process in processes]
    database = tree(stage.postgres.process)
    return {"the server": spent(side.servers), "workers and stores": spent(workers), "Postgres": spent(database)}


def _count(stage: Stage, shape: str) -> int:
    """Return how many tasks the graph has; rounds are whole."""
    wanted = stage.sizes.end_to_end
    return wanted if shape == "wide" else max(1, wanted // (_LOCALS + 1)) * (_LOCALS + 1)


def _run(side: Side, shape: str, count: int) -> float:
    """Have the workers run a graph; return the seconds from its registration to its end."""
    key, function = plan(side, shape, LEAD), runnable(side)
    wanted = wide if shape == "wide" else partial(federated, locals_=_LOCALS)
    tasks = wanted(count, function, key, SITES)
    begun = time.perf_counter()
    register(side, tasks, LEAD)
    until_idle(side.target(LEAD), key, _SECONDS)
    seconds = time.perf_counter() - begun
    ended = side.send(f"{PLANS}/GetPlan", pb.GetComputePlanParam(key=key), pb.ComputePlan, LEAD)
    if ended.HasField("failure_date"):
        raise BenchError(f"a task of {side.name} failed that should do nothing; see the logs of its workers")
    return seconds


def _bare(stage: Stage, shape: str) -> float:
    """Return how many tasks a second bare Celery runs, sending included."""
    count = _count(stage, shape)
    bare.connection().delete(bare.ENDED)
    with stage.bare_celery():
        begun = time.perf_counter()
        if shape == "wide":
            for _ in range(count):
                bare.count.apply_async()
        else:
            bare.begin(count // (_LOCALS + 1), _LOCALS)
        while int(bare.connection().get(bare.ENDED) or 0) < count:
            if time.perf_counter() - begun > _SECONDS:
                raise BenchError("bare Celery did not end; see the log of its workers")
            time.sleep(_POLL_SECONDS)
        return count / (time.perf_counter() - begun)


def _memory(stage: Stage, side: Side) -> Numbers:
    numbers = {"server": Number(sum(map(peak, side.servers)), "MB")}
    others = {name.partition(" ")[0]: processes for name, processes in side.workers.items() if name.endswith(SITES[0])}
    others |= {"Postgres": tree(stage.postgres.process), "Valkey": tree(stage.valkey.process)}
    for name, processes in others.items():
        numbers[f"{name}, with all its processes"] = Number(shared(processes), "MB")
        numbers[f"{name}, peak of the largest"] = Number(max(map(peak, processes)), "MB")
    return numbers


def _at_rest(_: Stage, side: Side) -> Numbers:
    side.restart()
    return {"server": Number(shared(side.servers), "MB")}
