"""Heartbeats: what grows with the organizations of a network, and not with its tasks.

The yardstick is as many echoes.
"""

from functools import partial

from benchmarks.load import Life, Step
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import driven, ready_tasks
from benchmarks.requests import WORKER, new_key
from benchmarks.rows import echo
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_MOST_CLIENTS = 8
_BEATS = 10


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: of nodes that are at rest, and of nodes that run a task each."""
    clients = min(_MOST_CLIENTS, max(sizes.clients))
    return [
        Row(
            f"heartbeat {'running' if running else 'idle'} {clients}",
            f"a call of a node that runs {'a task' if running else 'nothing'}: {clients} clients",
            partial(_measure, running, clients),
        )
        for running in (False, True)
    ]


def _measure(running: bool, clients: int, stage: Stage, side: Side) -> Numbers:
    count = max(1, stage.sizes.lives // _BEATS)
    nodes = _running(side, count) if running else [pb.HeartbeatParam(node=new_key(), slots=1) for _ in range(count)]
    calls: list[Life] = [[Step(f"{WORKER}/Heartbeat", node.SerializeToString())] for node in nodes]
    done = driven(stage, side, clients, calls * _BEATS)
    echoes, processor = echo.measure(stage, clients, side.tls)
    return {
        "calls": Number(done.calls / done.seconds, "calls/s", echoes, "echo"),
        "server's processor": Number(done.server / done.calls * 1e6, "µs a call", processor * 1e6, "the echo's"),
        "Postgres' processor": Number(done.database / done.calls * 1e6, "µs a call"),
    }


def _running(side: Side, count: int) -> list[pb.HeartbeatParam]:
    """Have nodes claim a task each; return their heartbeats."""
    found = []
    for key in ready_tasks(side, count):
        node = new_key()
        claim = pb.ClaimTaskParam(compute_task_key=key, node=node, claim_id=new_key())
        claimed = side.send(f"{WORKER}/ClaimTask", claim, pb.ClaimTaskResponse)
        found.append(pb.HeartbeatParam(node=node, attempts=[claimed.attempt], slots=1))
    return found
