"""Events: replayed from the beginning, resumed in the middle, and live to many subscribers.

The yardstick is a bare stream: as many messages of the same size through the same server stack, from memory.
"""

import statistics
import time
from functools import partial

from benchmarks.load import Streamed, follow, lag, stream
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import PLANS, driven, function, once, plan, ready_tasks, register, settle
from benchmarks.processor import spent
from benchmarks.requests import new_plan, older_life, wide
from benchmarks.side import CALLERS, REPLAYED, Side, tree
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_SECONDS = 300.0
_WRITERS = 8
_CONNECT_SECONDS = 1.0
_EVENTS = "/orchestrator.EventService/QueryEvents"


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: replay, resuming, the way of one event, and the fan-out."""
    return [
        Row("events replay", f"{sizes.replayed:,} events from the beginning to one subscriber", _replay),
        Row(
            "events replay batched",
            "the same, many events in a message",
            partial(_replay, batches=True),
            needs="SubscribeToEventBatches",
        ),
        Row("events resume", "a subscriber that goes on from the middle of them", _resume),
        Row("events idle", "from the answer of a call to its event, nothing else going on", _idle),
        *(
            Row(f"events live {count}", f"{_WRITERS} writers, {count} subscribers", partial(_live, count))
            for count in sizes.subscribers
        ),
    ]


def _history(stage: Stage, side: Side) -> str:
    """Have a channel with many events; return the key of its last task."""

    def make() -> str:
        key = plan(side, "history", channel=REPLAYED)
        tasks = wide(stage.sizes.replayed, function(side, REPLAYED), key, CALLERS)
        register(side, tasks, channel=REPLAYED)
        return tasks[-1].key

    return str(once(side, "history", make))


def _followed(stage: Stage, side: Side, after: str, *, batches: bool = False) -> tuple[Streamed, Numbers]:
    """Have one subscriber follow to the last event; return what it got, and what is to be said of it."""
    target, marker = side.target(channel=REPLAYED), _history(stage, side).encode()
    settle(stage, side)
    before = spent(side.servers)
    (streamed,) = stage.run(follow, target, after, marker, _SECONDS, batches=batches)
    processor = (spent(side.servers) - before) / streamed.events
    bare, process = stage.echo(side.tls)
    before = spent(tree(process))
    seconds = stage.run(stream, bare, streamed.events, streamed.size // streamed.events)
    bare_processor = (spent(tree(process)) - before) / streamed.events
    return streamed, {
        "events": Number(streamed.events / streamed.seconds, "events/s", streamed.events / seconds, "a bare stream"),
        "server's processor": Number(processor * 1e6, "µs an event", bare_processor * 1e6, "a bare stream's"),
    }


def _replay(stage: Stage, side: Side, *, batches: bool = False) -> Numbers:
    _history(stage, side)
    # Not what the server still had in memory of the registration.
    side.restart()
    return _followed(stage, side, "", batches=batches)[1]


def _resume(stage: Stage, side: Side) -> Numbers:
    _history(stage, side)

    def middle() -> str:
        param = pb.QueryEventsParam(page_size=max(1, min(10_000, stage.sizes.replayed // 2)), sort=pb.ASCENDING)
        found = side.send(_EVENTS, param, pb.QueryEventsResponse, channel=REPLAYED)
        return str(found.events[-1].id)

    streamed, numbers = _followed(stage, side, str(once(side, "middle", middle)))
    return {**numbers, "to the first": Number(streamed.first * 1000, "ms")}


def _idle(stage: Stage, side: Side) -> Numbers:
    plan(side, "the newest event")
    plans = [new_plan("idle").SerializeToString() for _ in range(stage.sizes.latencies)]
    lags = stage.run(lag, side.target(), side.last_event(), plans)
    return {"lag, p50": Number(statistics.median(lags) * 1000, "ms")}


def _live(subscribers: int, stage: Stage, side: Side) -> Numbers:
    lives = [older_life(key) for key in ready_tasks(side, stage.sizes.lives)]
    alone = stage.once(("writers", side.name), lambda: _written(stage, side))
    marker = new_plan("the last event")
    following = stage.beside(
        follow, side.target(), side.last_event(), marker.key.encode(), _SECONDS, subscribers=subscribers
    )
    time.sleep(_CONNECT_SECONDS)  # so that they are there when it begins; what they miss they get, but later
    written = driven(stage, side, _WRITERS, lives)
    side.send(f"{PLANS}/RegisterPlan", marker, pb.ComputePlan)
    streams = following.result()
    numbers = {
        "writers": Number(written.lives / written.seconds, "tasks/s", alone, "no subscriber"),
        "delivered": Number(sum(each.events / each.busy for each in streams), "events/s"),
    }
    if streams[0].lags:
        numbers["lag, p50"] = Number(statistics.median(streams[0].lags) * 1000, "ms")
    return numbers


def _written(stage: Stage, side: Side) -> float:
    lives = [older_life(key) for key in ready_tasks(side, stage.sizes.lives)]
    done = driven(stage, side, _WRITERS, lives)
    return done.lives / done.seconds
