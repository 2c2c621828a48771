"""A Celery worker of an organization as a process, with its agent and its pool."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from celery import Celery

from orchestrator.broker import connection
from orchestrator.core.pokes import STOP_ATTEMPTS, account, key_prefix, queue
from tests.kit.waiting import wait_until
from tests.kit.world import World

_SCRIPT = (
    "import sys; from workers.node.app import main; from workers.settings import WorkerSettings; "
    "sys.exit(main(WorkerSettings()))"
)


class Node:
    """A worker that runs.

    Args:
        world: whose settings it has.
        broker: URL of the broker.
        process: its main process.
    """

    def __init__(self, world: World, broker: str, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._world = world
        self._broker = broker

    @property
    def log(self) -> str:
        return (self._world.root / "worker.log").read_text()

    def poke(self, name: str, **arguments: str | int) -> None:
        with self._app() as app, app.connection_for_write() as connection:
            app.send_task(name, kwargs=arguments, connection=connection)

    def announce_stop(self) -> list[object]:
        """Broadcast that an attempt must stop; return the answers."""
        name = f"{self._world.settings.organization}@{self._world.settings.node}"
        with self._app() as app:
            arguments = {"tasks": [self._world.task]}
            answers = app.control.broadcast(
                STOP_ATTEMPTS, arguments, destination=[name], reply=True, timeout=30, limit=1
            )
        return list(answers)

    def pending(self) -> int:
        """How many pokes wait in the queue."""
        organization = self._world.settings.organization
        with redis.Redis.from_url(self._broker) as connection:
            return int(connection.llen(key_prefix(account(organization)) + queue(organization)))

    def unacknowledged(self) -> bool:
        """Whether the worker still holds back the acknowledgement of the poke of the world's task."""
        with self._app() as app:
            active = app.control.inspect(timeout=30, limit=1).active() or {}
        (requests,) = active.values()
        return any(
            request["kwargs"]["task"] == self._world.task and not request["acknowledged"] for request in requests
        )

    def children(self) -> dict[int, str]:
        """The processes of its group but the first, with their command lines."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid != pid and fields[0] != "Z":
                    found[pid] = stat.with_name("cmdline").read_text()
        return found

    def agent(self) -> int:
        """Wait for its agent; return the id of its process."""
        return wait_until(
            lambda: next((pid for pid, command in self.children().items() if "workers.node.agent" in command), 0),
            timeout=60,
        )

    def _app(self) -> Celery:
        app = Celery("test", set_as_current=False)
        app.conf.update(connection.queue(self._broker, queue(self._world.settings.organization)))
        return app


@contextmanager
def node(world: World, broker: str) -> Iterator[Node]:
    """Run a worker with the world's settings; all of it is killed at the end of the block."""
    settings = world.settings
    environment = {
        "ORCHESTRATOR_ORGANIZATION": settings.organization,
        "ORCHESTRATOR_CHANNELS": ",".join(settings.channels),
        "ORCHESTRATOR_ADDRESS": settings.address,
        "ORCHESTRATOR_BROKER_URL": broker,
        "ORCHESTRATOR_STORE_ROOT": settings.store_root,
        "ORCHESTRATOR_STORE_URL": settings.store_url,
        "ORCHESTRATOR_WORK_DIR": str(settings.work_dir),
        "ORCHESTRATOR_NODE": settings.node,
        "ORCHESTRATOR_DRAIN_SECONDS": str(settings.drain_seconds),
        "ORCHESTRATOR_TASK_KILL_GRACE": str(settings.task_kill_grace),
        "ORCHESTRATOR_EXECUTOR": settings.executor,
        "ORCHESTRATOR_SANDBOX_PATHS": ",".join(settings.sandbox_paths),
        **({"ORCHESTRATOR_IMAGES": str(settings.images)} if settings.images else {}),
        **({"ORCHESTRATOR_HEALTH_ADDRESS": settings.health_address} if settings.health_address else {}),
    }
    log = world.root / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Node(world, broker, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(log.read_text())
