"""Monkeys: each does one kind of harm to a federation, and leaves it so that it can recover by itself.

A monkey is a function of the stage and of a source of chance. What it kills it starts again; what it takes away it
gives back; what a plan lost by it the federation must find again.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.stage import LEASE_SECONDS, ORGANIZATIONS, Stage

Monkey = Callable[[Stage, random.Random], None]

CUT = "org-b"
"""Whose network can be cut."""


class Chosen(random.Random):
    """Chance that has made up its mind about the organization."""

    def __init__(self, organization: str) -> None:
        super().__init__(1)
        self._organization = organization

    def choice(self, options: Sequence[Any]) -> Any:
        return self._organization if self._organization in options else super().choice(options)


def kill_worker(stage: Stage, chance: random.Random) -> None:
    """Kill a worker's main process; what it leaves behind ends by itself, or at the latest when it starts again."""
    name = _a_worker(chance)
    stage.kill(name)
    time.sleep(chance.choice((0.0, 0.5)))
    stage.start(name)


def kill_child(stage: Stage, chance: random.Random) -> None:
    """Kill a process of a worker's pool."""
    _kill(chance, [child for child in _children(stage, chance) if "workers.node.agent" not in _words(child)])


def kill_busy_child(stage: Stage, chance: random.Random) -> None:
    """Kill a process of a worker's pool that runs a function."""
    children = _children(stage, chance)
    _kill(chance, [child for child in children if any("function.py" in _words(each) for each in _below(child))])


def kill_agent(stage: Stage, chance: random.Random) -> None:
    """Kill the process that renews a worker's leases."""
    _kill(chance, [child for child in _children(stage, chance) if "workers.node.agent" in _words(child)])


def kill_function(stage: Stage, chance: random.Random) -> None:
    """Kill a function that runs, or what started it."""
    children = _children(stage, chance, recursive=True)
    _kill(chance, [child for child in children if "launch.py" in _words(child) or "function.py" in _words(child)])


def kill_server(stage: Stage, chance: random.Random) -> None:
    """Kill the orchestrator, or one of its servers."""
    name = chance.choice(stage.servers)
    stage.kill(name)
    time.sleep(chance.choice((0.0, 1.0)))
    stage.start(name)


def kill_server_process(stage: Stage, chance: random.Random) -> None:
    """Kill one of the orchestrator's processes, and not its supervisor."""
    with contextlib.suppress(psutil.NoSuchProcess):
        _kill(chance, psutil.Process(stage.service("serve").pid).children())


def kill_beat(stage: Stage, _: random.Random) -> None:
    """Kill the maintenance worker and its beat."""
    stage.kill("beat")
    stage.start("beat")


def kill_beat_child(stage: Stage, chance: random.Random) -> None:
    """Kill the beat's clock, or the process that sweeps."""
    with contextlib.suppress(psutil.NoSuchProcess):
        _kill(chance, psutil.Process(stage.service("beat").pid).children())


def kill_store(stage: Stage, chance: random.Random) -> None:
    """Kill an organization's asset store."""
    name = f"store-{chance.choice(ORGANIZATIONS)}"
    stage.kill(name)
    time.sleep(chance.choice((0.0, 0.5)))
    stage.start(name)


def kill_broker(stage: Stage, _: random.Random) -> None:
    """Kill the broker, which forgets all messages."""
    stage.kill("valkey")
    stage.start("valkey")


def flush_broker(stage: Stage, _: random.Random) -> None:
    """Have the broker forget all messages."""
    valkey = stage.federation.service("valkey")
    assert isinstance(valkey, Valkey)
    with contextlib.closing(redis.Redis.from_url(valkey.url)) as connection:
        connection.flushall()


def stop_database(stage: Stage, chance: random.Random) -> None:
    """Stop the database at once, and once more while it recovers."""
    postgres = stage.federation.service("postgres")
    assert isinstance(postgres, Postgres)
    stage.kill("postgres", signal.SIGQUIT)
    if chance.random() < 0.5:
        _await_alone(stage)
        postgres.process.start()
        time.sleep(chance.uniform(0.02, 0.3))
        stage.kill("postgres", signal.SIGQUIT)
    stage.start("postgres")


def freeze_worker(stage: Stage, chance: random.Random) -> None:
    """Stop a whole worker, its functions too, for longer than its leases; then let it go on."""
    with frozen(stage, _a_worker(chance), functions=True):
        time.sleep(LEASE_SECONDS + 1.5)


def freeze_part(stage: Stage, chance: random.Random) -> None:
    """Stop a worker and its agent for longer than its leases, while its functions go on."""
    with frozen(stage, _a_worker(chance), functions=False):
        time.sleep(LEASE_SECONDS + 1.5)


def cut_network(stage: Stage, chance: random.Random) -> None:
    """Cut the network between an organization and both the orchestrator and its broker, for a short time or long."""
    chance.choice((_cut_for_short, cut_network_for_long))(stage, chance)


def _cut_for_short(stage: Stage, _: random.Random) -> None:
    with cut(stage, CUT):
        time.sleep(1.0)


def cut_network_for_long(stage: Stage, _: random.Random) -> None:
    """Cut the network of an organization for longer than its leases."""
    with cut(stage, CUT):
        time.sleep(LEASE_SECONDS + 2.0)


def fill_disk(stage: Stage, chance: random.Random) -> None:
    """Fill the disk of an organization."""
    assert stage.disk is not None
    ballast = stage.disk / "ballast"
    _fill(ballast)
    time.sleep(chance.uniform(1.0, 3.0))
    ballast.unlink()


def two_beats(stage: Stage, _: random.Random) -> None:
    """Run a second beat for a while."""
    second = stage.second_beat()
    second.start()
    try:
        time.sleep(4.0)
    finally:
        second.stop()


MONKEYS: tuple[Monkey, ...] = (
    kill_worker,
    kill_child,
    kill_agent,
    kill_function,
    kill_server,
    kill_beat,
    kill_beat_child,
    kill_store,
    kill_broker,
    flush_broker,
    stop_database,
    freeze_worker,
    freeze_part,
    cut_network,
    fill_disk,
    two_beats,
)


def _a_worker(chance: random.Random) -> str:
    return f"worker-{chance.choice(ORGANIZATIONS)}"


def _children(stage: Stage, chance: random.Random, recursive: bool = False) -> list[psutil.Process]:
    """Return the processes that a worker started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(stage.service(_a_worker(chance)).pid).children(recursive)
    return []


def _below(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return " ".join(process.cmdline())
    return ""


def _kill(chance: random.Random, processes: list[psutil.Process]) -> None:
    if processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(processes).kill()


@contextlib.contextmanager
def frozen(stage: Stage, name: str, *, functions: bool) -> Iterator[None]:
    """Stop a worker, its agent and its pool, and its functions too, as long as the block runs."""
    whole = psutil.Process(stage.service(name).pid)
    children = whole.children(recursive=True)
    guarded = {each for child in children if "launch.py" in _words(child) for each in (child, *_below(child))}
    stopped = [whole, *(child for child in children if functions or child not in guarded)]
    try:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in reversed(stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@contextlib.contextmanager
def cut(stage: Stage, organization: str) -> Iterator[None]:
    """Let nothing through to the orchestrator and the broker, as long as the block runs."""
    networks = stage.through(organization)
    for network in networks:
        network.cut()
    try:
        yield
    finally:
        for network in networks:
            network.mend()


def _await_alone(stage: Stage) -> None:
    """Wait until no process of the stopped database is left: Postgres refuses to start beside one."""
    postgres = stage.federation.service("postgres")
    assert isinstance(postgres, Postgres)
    assert not postgres.process.alive  # ends its group
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(postgres.url(), connect_timeout=1).close()


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(os.urandom(64 * 1024))
