"""The life of a task, by the calls that the contract always had and by those of our own workers.

The yardstick is the floor: as many echoes as it has calls, and its statements sent by psycopg from as many threads. A
life should reach two thirds of it: cost at most 1.5 times as much.
"""

from collections.abc import Callable
from functools import partial

from benchmarks import sql
from benchmarks.clients import Driven
from benchmarks.errors import BenchError
from benchmarks.load import Life
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import driven, function, once, ready_tasks, replayed
from benchmarks.requests import batched_lives, older_life, worker_life
from benchmarks.rows import echo
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.sql import Captured, Script
from benchmarks.stage import Stage
from orchestrator import protos as pb

KINDS: dict[str, Callable[[str], Life]] = {"older": older_life, "claimed": worker_life}
_BATCH = 10
"""Tasks that a call claims, or completes, where it takes several."""
_WARMING = 250
"""Lives that a server makes before those that are measured: each of its connections has each statement planned anew at
first."""
_CAPTURED = 20
_CAPTURE_SECONDS = 300.0


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: what a life costs in SQL, then each number of clients, plain and with mutual TLS."""
    return [
        *(
            Row(f"cost {kind}", "what a life makes Postgres do, pumps included", partial(_costs, kind), once=True)
            for kind in KINDS
        ),
        *(
            Row(
                f"life {kind} {clients} {'tls' if tls else 'plain'}",
                f"tasks from To do to Done: {clients} clients",
                partial(_measure, kind, clients),
                tls=tls,
            )
            for tls in (False, True)
            for kind in KINDS
            for clients in (sizes.clients_tls if tls else sizes.clients)
        ),
        *(
            Row(
                f"life batched {clients} plain",
                f"the same by ClaimTasks and CompleteTasks of {_BATCH} tasks each: {clients} clients",
                partial(_measure_batches, clients),
                needs="ClaimTasks",
            )
            for clients in sizes.clients
        ),
    ]


def rate(stage: Stage, side: Side, kind: str, clients: int) -> float:
    """Return how many lives a second so many clients make."""
    done = live(stage, side, kind, clients)
    return done.lives / done.seconds


def live(stage: Stage, side: Side, kind: str, clients: int) -> Driven:
    """Have so many clients make tasks Done; return what that took."""
    return driven(stage, side, clients, [KINDS[kind](key) for key in ready_tasks(side, stage.sizes.lives)])


def _measure(kind: str, clients: int, stage: Stage, side: Side) -> Numbers:
    once(side, ("warm", kind, clients, side.servers[0].pid), lambda: _warm(stage, side, kind, clients))
    done = live(stage, side, kind, clients)
    calls = len(KINDS[kind](function(side)))
    echoes, echo_processor = echo.measure(stage, clients, side.tls)
    floor, sql_processor, beside = None, None, ""
    try:
        alone, sql_processor = _sql_alone(stage, side, kind, clients)
        floor = 1 / (calls / echoes + 1 / alone)
        beside = f"echo {echoes / calls:,.0f} and SQL {alone:,.0f}"
    except BenchError as error:
        # A checkout may send what no log holds, as COPY's rows: the life itself was measured all the same.
        beside = f"no floor: {error}"
    return {
        "lives": Number(done.lives / done.seconds, "tasks/s", floor, beside),
        "server's processor": Number(
            done.server / done.lives * 1e6, "µs a task", calls * echo_processor * 1e6, "the echo's"
        ),
        "Postgres' processor": Number(
            done.database / done.lives * 1e6, "µs a task", sql_processor and sql_processor * 1e6, "SQL alone"
        ),
    }


def _warm(stage: Stage, side: Side, kind: str, clients: int) -> Driven:
    keys = ready_tasks(side, min(_WARMING, stage.sizes.lives))
    return driven(stage, side, clients, [KINDS[kind](key) for key in keys])


def _measure_batches(clients: int, stage: Stage, side: Side) -> Numbers:
    one_by_one = live(stage, side, "claimed", clients)
    keys = ready_tasks(side, stage.sizes.lives)
    batches = [batched_lives(keys[start : start + _BATCH]) for start in range(0, len(keys), _BATCH)]
    done = driven(stage, side, clients, batches)
    beside = "one a call"
    return {
        "lives": Number(done.lives / done.seconds, "tasks/s", one_by_one.lives / one_by_one.seconds, beside),
        "server's processor": Number(
            done.server / done.lives * 1e6, "µs a task", one_by_one.server / one_by_one.lives * 1e6, beside
        ),
        "Postgres' processor": Number(
            done.database / done.lives * 1e6, "µs a task", one_by_one.database / one_by_one.lives * 1e6, beside
        ),
    }


def _sql_alone(stage: Stage, side: Side, kind: str, threads: int) -> tuple[float, float]:
    """Return how many lives a second the statements alone make, and Postgres' seconds of processor for each."""

    def measure() -> tuple[float, float]:
        script = _script(stage, side, kind)
        keys = ready_tasks(side, stage.sizes.lives)
        alone = replayed(stage, side, [script.of(key) for key in keys], threads)
        first = side.send("/orchestrator.ComputeTaskService/GetTask", pb.GetTaskParam(key=keys[0]), pb.ComputeTask)
        if first.status != pb.STATUS_DONE:
            raise BenchError("the captured statements, sent again, did not make a task Done: SQL alone says nothing")
        return alone

    return stage.once(("sql", side.name, kind, threads), measure)


def _script(stage: Stage, side: Side, kind: str) -> Script:
    script: Script = once(side, ("script", kind), lambda: _capture(stage, side, kind, 1, 3)[0])
    return script


def _capture(stage: Stage, side: Side, kind: str, clients: int, count: int) -> tuple[Script, Captured]:
    """Run lives while Postgres logs; return the script of the last, and all that was logged."""
    keys = ready_tasks(side, count)
    lives = [KINDS[kind](key) for key in keys]
    with stage.connect(side) as connection, sql.capturing(connection, stage.postgres_log) as captured:
        driven(stage, side, clients, lives, _CAPTURE_SECONDS)
        found = captured()
    plan = side.send("/orchestrator.ComputeTaskService/GetTask", pb.GetTaskParam(key=keys[-1]), pb.ComputeTask)
    # The body of the models' registration, or of the completion, names the model.
    (model,) = set(sql.UUID_TEXT.findall(lives[-1][1].body.decode("latin-1"))) - {keys[-1]}
    kept = frozenset({function(side), plan.compute_plan_key})
    return Script(found.about(keys[-1]), [keys[-1], model], kept), found


def _costs(kind: str, stage: Stage, side: Side) -> Numbers:
    script, found = _capture(stage, side, kind, 1, _CAPTURED)
    clients = sorted(stage.sizes.clients)[min(1, len(stage.sizes.clients) - 1)]
    lives = [KINDS[kind](key) for key in ready_tasks(side, stage.sizes.lives)]
    with stage.connect(side) as connection, sql.counting(connection) as counts:
        done = driven(stage, side, clients, lives)
    several = _capture(stage, side, kind, clients, min(stage.sizes.lives, 10 * clients))[1]
    hot = 100 * counts["hot"] / counts["updates"] if counts["updates"] else 100.0
    return {
        "own statements": Number(Captured(script.transactions).statements, "statements"),
        "own commits": Number(len(script.transactions), "commits"),
        "all statements, 1 client": Number(found.statements / _CAPTURED, "statements"),
        "all commits, 1 client": Number(len(found.transactions) / _CAPTURED, "commits"),
        f"all statements, {clients} clients": Number(
            several.statements / min(stage.sizes.lives, 10 * clients), "statements"
        ),
        f"all commits, {clients} clients": Number(
            len(several.transactions) / min(stage.sizes.lives, 10 * clients), "commits"
        ),
        f"WAL, {clients} clients": Number(counts["wal"] / done.lives, "B"),
        f"multixact members, {clients} clients": Number(counts["multixacts"] / done.lives, "members"),
        f"HOT updates, {clients} clients": Number(hot, "%"),
    }
