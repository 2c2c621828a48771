"""Queries: what people wait for in front of a screen."""

import statistics

from benchmarks.load import Step
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import PLANS, driven, function, once, plan, register
from benchmarks.requests import TASKS, wide
from benchmarks.side import CALLERS, Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_SECONDS = 300.0
_LARGEST_PAGE = 10_000


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: a page of tasks, the progress of a plan, the list of plans."""
    return [
        Row("query page", f"a page of {sizes.page:,} tasks", page),
        Row("query progress", f"the states of all tasks of a plan of {sizes.progress:,}", _progress),
        Row("query running", f"whether a plan of {sizes.progress:,} runs", _running),
        Row("query plans", f"the list of {sizes.plans:,} plans", plans),
    ]


def _large(stage: Stage, side: Side) -> str:
    def make() -> str:
        key = plan(side, "large")
        count = max(stage.sizes.page, stage.sizes.progress)
        register(side, wide(count, function(side), key, CALLERS))
        return key

    return str(once(side, "large", make))


def page(stage: Stage, side: Side) -> Numbers:
    """Measure one page of tasks."""
    wanted = pb.TaskQueryFilter(compute_plan_key=_large(stage, side))
    param = pb.QueryTasksParam(page_size=stage.sizes.page, filter=wanted)
    return {"page": _timed(stage, side, f"{TASKS}/QueryTasks", param.SerializeToString())}


def _progress(stage: Stage, side: Side) -> Numbers:
    key = _large(stage, side)
    tokens, token = [""], ""
    while True:
        param = pb.QueryTasksParam(
            page_size=_LARGEST_PAGE, page_token=token, filter=pb.TaskQueryFilter(compute_plan_key=key)
        )
        token = side.send(f"{TASKS}/QueryTasks", param, pb.QueryTasksResponse).next_page_token
        if not token:
            break
        tokens.append(token)
    pages = [
        pb.QueryTasksParam(
            page_size=_LARGEST_PAGE, page_token=token, filter=pb.TaskQueryFilter(compute_plan_key=key)
        ).SerializeToString()
        for token in tokens
    ]
    done = driven(stage, side, 1, [[Step(f"{TASKS}/QueryTasks", body) for body in pages]], _SECONDS)
    return {"all pages": Number(done.seconds * 1000, "ms")}


def _running(stage: Stage, side: Side) -> Numbers:
    param = pb.IsPlanRunningParam(key=_large(stage, side))
    return {"answer": _timed(stage, side, f"{PLANS}/IsPlanRunning", param.SerializeToString())}


def plans(stage: Stage, side: Side) -> Numbers:
    """Measure the list of plans."""

    def make() -> int:
        for number in range(stage.sizes.plans):
            plan(side, f"plan {number}")
        return stage.sizes.plans

    once(side, "plans", make)
    param = pb.QueryPlansParam(page_size=stage.sizes.plans)
    return {"page": _timed(stage, side, f"{PLANS}/QueryPlans", param.SerializeToString())}


def _timed(stage: Stage, side: Side, method: str, body: bytes) -> Number:
    done = driven(stage, side, 1, [[Step(method, body)]] * stage.sizes.queries, _SECONDS)
    return Number(statistics.median(done.latencies) * 1000, "ms")
