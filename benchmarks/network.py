"""A network on a side, made once by ordinary calls: its organizations, a function, and compute plans."""

import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty

from benchmarks import requests, sql
from benchmarks.clients import Driven
from benchmarks.errors import BenchError
from benchmarks.load import Life, drive
from benchmarks.processor import spent
from benchmarks.requests import new_function, new_plan
from benchmarks.side import CALLERS, CHANNEL, LEAD, ORGANIZATIONS, Side, tree
from benchmarks.sql import Statement
from benchmarks.stage import Stage
from orchestrator import protos as pb

FUNCTIONS = "/orchestrator.FunctionService"
PLANS = "/orchestrator.ComputePlanService"
_BATCH = 1000
_QUIET_SECONDS = 0.3
_SETTLE_SECONDS = 120.0

_DOCKERFILE = 'FROM scratch\nENTRYPOINT ["python3", "function.py"]\n'
# Standard library only, so that it starts as fast as Python does; the first thing it does is to look at the clock.
_FUNCTION = """\
import time
started = time.time()
import json, sys
with open(sys.argv[-1][1:]) as file:
    arguments = file.read().splitlines()
for output in json.loads(arguments[arguments.index("--outputs") + 1]):
    with open(output["value"], "w") as file:
        file.write(str(started))
"""


def once(side: Side, key: Any, make: Callable[[], Any]) -> Any:
    """Return what was made on a side under a key, or make it now."""
    if key not in side.kept:
        side.kept[key] = make()
    return side.kept[key]


def function(side: Side, channel: str = CHANNEL) -> str:
    """Return the key of a READY function of a channel, which nobody can run."""
    new = new_function(requests.new_key(), requests.address())
    return str(once(side, ("function", channel), lambda: _make_ready(side, new, CALLERS[0], channel)))


def _make_ready(side: Side, new: pb.NewFunction, owner: str, channel: str) -> str:
    def register() -> None:
        for organization in ORGANIZATIONS:
            side.send(
                "/orchestrator.OrganizationService/RegisterOrganization",
                pb.RegisterOrganizationParam(),
                pb.Organization,
                organization,
                channel,
            )

    once(side, ("organizations", channel), register)
    side.send(f"{FUNCTIONS}/RegisterFunction", new, pb.Function, owner, channel)
    for step in (
        pb.ApplyFunctionActionParam(function_key=new.key, action=pb.FUNCTION_ACTION_BUILDING),
        pb.UpdateFunctionParam(key=new.key, name=new.name, image=requests.address()),
        pb.ApplyFunctionActionParam(function_key=new.key, action=pb.FUNCTION_ACTION_READY),
    ):
        method = "UpdateFunction" if isinstance(step, pb.UpdateFunctionParam) else "ApplyFunctionAction"
        side.send(f"{FUNCTIONS}/{method}", step, Empty, owner, channel)
    return new.key


def runnable(side: Side) -> str:
    """Return the key of a READY function that workers can run, whose archive lies in the store of `LEAD`."""

    def make() -> str:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, text in (("Dockerfile", _DOCKERFILE), ("function.py", _FUNCTION)):
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        content = packed.getvalue()
        place = side.store(LEAD) / "functions" / (key := requests.new_key())
        place.mkdir(parents=True)
        (place / "archive").write_bytes(content)
        checksum = hashlib.sha256(content).hexdigest()
        address = requests.address(f"{side.store_url(LEAD)}/functions/{key}/archive", checksum)
        return _make_ready(side, new_function(key, address), LEAD, CHANNEL)

    return str(once(side, "runnable", make))


def plan(side: Side, name: str, owner: str = "", channel: str = CHANNEL) -> str:
    """Register a compute plan; return its key."""
    new = new_plan(name)
    side.send(f"{PLANS}/RegisterPlan", new, pb.ComputePlan, owner or CALLERS[0], channel)
    return new.key


def register(side: Side, tasks: Sequence[pb.NewComputeTask], owner: str = "", channel: str = CHANNEL) -> None:
    """Register tasks, outside any measurement."""
    for start in range(0, len(tasks), _BATCH):
        param = pb.RegisterTasksParam(tasks=tasks[start : start + _BATCH])
        side.send(
            "/orchestrator.ComputeTaskService/RegisterTasks",
            param,
            pb.RegisterTasksResponse,
            owner or CALLERS[0],
            channel,
        )


def ready_tasks(side: Side, count: int) -> list[str]:
    """Register tasks of the first caller that may run at once; return their keys."""
    tasks = requests.wide(count, function(side), plan(side, "lives"), CALLERS[:1])
    register(side, tasks)
    return [task.key for task in tasks]


# A server that sends pokes is inside a transaction, and writes nothing before the last of a batch is sent.
_WRITTEN = """
    SELECT pg_current_wal_insert_lsn(),
           count(*) FILTER (WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid())
    FROM pg_stat_activity WHERE datname = current_database() AND application_name <> %s
"""
READER = "a reader of the bench"
"""The `application_name` of a session whose transaction stays open, and is waited for by nobody."""


def settle(stage: Stage, side: Side) -> None:
    """Wait until the server has placed the events and sent the pokes of what was registered: it writes no more.

    Raises:
        BenchError: it goes on writing.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    with stage.connect(side) as connection:
        before: list[Any] = []
        while (now := connection.execute(_WRITTEN, [READER]).fetchall()) != before or now[0][1]:
            if time.monotonic() > deadline:
                raise BenchError(f"{side.name} still writes {_SETTLE_SECONDS:g} s after it was asked for the last time")
            before = now
            time.sleep(_QUIET_SECONDS)


def driven(stage: Stage, side: Side, clients: int, lives: Sequence[Life], seconds: float | None = None) -> Driven:
    """Have the load generator drive lives of the first caller, on a server that is at rest; return what it did.

    Raises:
        BenchError: a call was refused.
    """
    within = seconds or stage.sizes.seconds
    return metered(stage, side, lambda: stage.run(drive, side.target(), clients, lives, within))


def metered(stage: Stage, side: Side, load: Callable[[], Driven]) -> Driven:
    """Put a load on a server that is at rest; return what it did, with what server and Postgres took for it.

    Raises:
        BenchError: a call was refused.
    """
    settle(stage, side)
    server, database = spent(side.servers), spent(tree(stage.postgres.process))
    done = load()
    settle(stage, side)
    done.server = spent(side.servers) - server
    done.database = spent(tree(stage.postgres.process)) - database
    if done.failures:
        raise BenchError(f"{done.failures} calls of {side.name} were refused, the first with: {done.reason}")
    return done


def replayed(stage: Stage, side: Side, lives: Sequence[Sequence[Statement]], threads: int) -> tuple[float, float]:
    """Return how many lives a second their statements alone make, and Postgres' seconds of processor for each.

    Raises:
        BenchError: a statement is refused.
    """
    settle(stage, side)
    with side.paused():
        before = spent(tree(stage.postgres.process))
        count, seconds = sql.replay(side.database_url, lives, threads, stage.sizes.seconds)
        processor = spent(tree(stage.postgres.process)) - before
    return count / seconds, processor / count
