"""Local processes in the shape of containers, so that pytest-celery's nodes drive them without a container engine."""

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import celery

from orchestrator.core import pokes
from orchestrator.embedded.processes import Process
from orchestrator.embedded.valkey import Valkey
from tests.kit.processes import clean_environment
from tests.kit.waiting import wait_until

NODE = "node-1"


@dataclass(frozen=True)
class Orchestrator:
    """A server that runs, and its database."""

    address: str
    database_url: str


class LocalContainer(ABC):
    """One process that can be killed and restarted, with what pytest-celery asks of a container.

    Args:
        name: for messages.
        identity: where pytest-celery expects the id of a container; its first 12 characters are the host name.
        ready_prompt: what the process logs when it is ready.
    """

    def __init__(self, name: str, identity: str, ready_prompt: str) -> None:
        self.name = name
        self.id = identity
        self._ready_prompt = ready_prompt

    @property
    @abstractmethod
    def process(self) -> Process:
        """The process, of the last start."""

    @property
    @abstractmethod
    def celeryconfig(self) -> Mapping[str, str]:
        """What Celery must be told to use it."""

    @abstractmethod
    def start(self) -> None:
        """Start the process; `ready` waits for it."""

    @property
    def status(self) -> str:
        """As an engine says it: running or exited."""
        return "running" if self.process.alive else "exited"

    def logs(self) -> str:
        """Return what all runs have logged."""
        return self.process.log.read_text(errors="replace")

    def ready(self) -> bool:
        """Wait until the present run is ready.

        Raises:
            ProcessError: it ended first, or the time is over; with the last lines of its log.
        """
        self.process.wait_ready(lambda: any(self._ready_prompt in line for line in self.process.log_lines()))
        return True

    def reload(self) -> None:  # noqa: B027  (all containers are alike in this)
        """Do nothing: `status` looks at the process itself."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal; after SIGKILL, wait for the end."""
        number = _signal(signal)
        os.kill(self.process.pid, number)
        if number == _signal("SIGKILL"):
            wait_until(lambda: not self.process.alive, message=f"the end of {self.name}")

    def restart(self, timeout: float = 10) -> None:
        """End the process if it runs, start it again, and wait until it is ready."""
        self.teardown()
        self.start()
        self.ready()

    def teardown(self) -> None:
        """End the process; without effect if it does not run."""
        self.process.stop()


class BrokerContainer(LocalContainer):
    """A real Valkey; it keeps its port and its password when it is restarted."""

    def __init__(self, valkey: Valkey) -> None:
        super().__init__(valkey.name, valkey.name, "Ready to accept connections")
        self.valkey = valkey

    @property
    def process(self) -> Process:
        return self.valkey.process

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {"url": self.valkey.url, "host_url": self.valkey.url}

    def start(self) -> None:
        self.valkey.start()


class WorkerContainer(LocalContainer):
    """A real worker: `python -m orchestrator` with a command.

    Args:
        name: what stands before the @ in the name of its Celery node.
        queue: what it consumes.
        command: the arguments of `orchestrator`.
        folder: for its log.
        settings: its settings, by their whole name; the worker inherits no others.
        host: what stands behind the @.

    Attributes:
        node: the name of its Celery node.
    """

    def __init__(
        self, name: str, queue: str, command: Sequence[str], folder: Path, settings: Mapping[str, str], host: str = NODE
    ) -> None:
        super().__init__(name, host, " ready.")
        self.node = f"{name}@{host}"
        self._queue = queue
        self._process = Process(
            f"worker {name}",
            [sys.executable, "-m", "orchestrator", *command],
            log=folder / f"worker-{name}.log",
            env=clean_environment(settings),
        )

    @property
    def process(self) -> Process:
        return self._process

    @property
    def celeryconfig(self) -> dict[str, str]:
        raise NotImplementedError("nobody connects to a worker")

    def start(self) -> None:
        self._process.start()

    def worker_name(self) -> str:
        return self.name

    def worker_queue(self) -> str:
        return self._queue

    def version(self) -> str:
        return celery.__version__

    def log_level(self) -> str:
        return "INFO"


def organization_worker(organization: str, folder: Path, settings: Mapping[str, str]) -> WorkerContainer:
    """Return the worker of an organization, not started.

    Args:
        organization: its id.
        folder: for its log, its store and its working folders.
        settings: where broker and orchestrator are, and the channels.
    """
    own = {
        "ORCHESTRATOR_NODE": NODE,
        "ORCHESTRATOR_STORE_ROOT": str(folder / f"store-{organization}"),
        "ORCHESTRATOR_STORE_URL": f"https://{organization}.example.org",
        "ORCHESTRATOR_WORK_DIR": str(folder / "work"),
    }
    command = ["worker", "--org", organization]
    return WorkerContainer(organization, pokes.queue(organization), command, folder, {**settings, **own})


def _signal(name: str | int) -> signal.Signals:
    return signal.Signals[name] if isinstance(name, str) else signal.Signals(name)
