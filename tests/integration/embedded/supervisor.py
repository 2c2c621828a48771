"""Runs as a supervisor of its own that tests kill: `python supervisor.py FOLDER postgres|valkey|sleep`."""

import sys
import threading
from pathlib import Path

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.processes import Process, Supervisor
from orchestrator.embedded.valkey import Valkey


def main() -> None:
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    services = {
        "postgres": lambda: Postgres(folder, fsync=False),
        "valkey": lambda: Valkey(folder),
        "sleep": lambda: Process("sleep", ["sleep", "600"], log=folder / "sleep.log"),
    }
    service = services[kind]()
    with Supervisor() as supervisor:
        supervisor.start(service)
        print((service if isinstance(service, Process) else service.process).pid, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
