"""Harm to a deployment of problems: modules, servers, the database and the broker are killed while iterations run.

Tasks come by HTTP, as front ends send them: one that was accepted must end, whoever dies. For as long as one likes:
`python -m tests.faults.problems`, which exits with 1 when a promise was broken, and says which.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from orchestrator.audit import stored
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit import interrupts
from tests.kit.database import opened
from tests.kit.modules import CLASSES, Modules, Script, six
from tests.kit.runs import Broken, Kind
from tests.kit.temporary import passable

SETTINGS = {
    "LEASE": "5s",
    # Modules are killed more often than they may be in life.
    "RETRY_LOST_ATTEMPTS": 1000,
    "RETRY_INTERNAL_ATTEMPTS": 1000,
}
"""What makes a deployment notice harm soon, and bear any amount of it."""

_OPEN = ("WAITING", "RUNNING")
_SECONDS = 120.0
_LOOK_SECONDS = 0.2
_AT_ONCE = 6


class Harmed:
    """A deployment with a module of each kind, which come back as those do whom somebody keeps running.

    Args:
        modules: the deployment.
        scripts: its modules, by kind.
    """

    def __init__(self, modules: Modules, scripts: dict[str, Script]) -> None:
        self._modules = modules
        self._scripts = scripts
        self._http = httpx.Client(base_url=modules.federation.running.problems["address"], timeout=10.0)
        self.accepted: list[dict[str, int]] = []
        self._open: list[dict[str, int]] = []
        self.strikes: Counter[str] = Counter()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self) -> dict[str, int]:
        """Submit a problem, again and again until it is answered; the key makes it one. Return its id."""
        key = str(uuid4())
        body = {"problem_short_description": "harmed", "inputs": ["numbers"], "outputs": ["a number"]}
        answer = self._insist(lambda: self._http.post("/api/problems", json=body, headers={"Idempotency-Key": key}))
        task: dict[str, int] = answer["task_id"]
        self.accepted.append(task)
        self._open.append(task)
        return task

    def get(self, task: dict[str, int]) -> dict[str, Any]:
        """Return an iteration as the native HTTP shows it."""
        path = f"/api/problems/{task['problem_id']}/iterations/{task['iteration_id']}"
        return self._insist(lambda: self._http.get(path))

    def open_tasks(self) -> list[dict[str, int]]:
        """Return those that were accepted and have not ended; one that has ended is not asked for again."""
        self._open = [task for task in self._open if self.get(task)["status"] in _OPEN]
        return self._open

    def kill_module(self, kind: str) -> None:
        """Kill a module's process, and start it again under its name."""
        script = self._scripts[kind]
        if script.process.poll() is None:
            os.kill(script.pid, signal.SIGKILL)
        script.process.wait()
        self._scripts[kind] = self._modules.start(kind, script.name)
        self.strikes["module"] += 1

    def kill(self, name: str) -> None:
        """Kill a process of the federation, and start it again.

        Args:
            name: `serve`, `beat`, `postgres` or `valkey`.
        """
        service = self._modules.federation.service(name)
        process = service.process if isinstance(service, Postgres | Valkey) else service
        if process.alive:
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.strikes[name] += 1
        self.revive()

    def revive(self) -> None:
        """Start what does not run: a server that met no database has ended, and a module that was told to."""
        for name in ("valkey", "postgres", "serve", "beat"):
            service = self._modules.federation.service(name)
            process = service.process if isinstance(service, Postgres | Valkey) else service
            if not process.alive:
                service.start()
        for kind, script in self._scripts.items():
            if script.process.poll() is not None:
                self._scripts[kind] = self._modules.start(kind, script.name)

    def strike(self, chance: random.Random) -> None:
        """Do some harm."""
        victim = chance.choice(("module", "module", "module", "serve", "postgres", "valkey", "beat"))
        if victim == "module":
            self.kill_module(chance.choice(list(CLASSES)))
        else:
            self.kill(victim)

    def broken(self, seconds: float = _SECONDS) -> list[Broken]:
        """Wait for the end of all that was accepted; return the promises that were broken.

        Args:
            seconds: how long it may take.
        """
        found: list[Broken] = []
        deadline = time.monotonic() + seconds
        while (left := self.open_tasks()) and time.monotonic() < deadline:
            self.revive()
            time.sleep(_LOOK_SECONDS)
        found += [Broken(Kind.LOSS, f"task {task} has not ended: {self.get(task)}") for task in left]
        ids = Counter((task["problem_id"], task["iteration_id"]) for task in self.accepted)
        found += [Broken(Kind.DOUBLE, f"id {each} was given {count} times") for each, count in ids.items() if count > 1]
        for task in self.accepted:
            shown = self.get(task)
            if shown["status"] not in (*_OPEN, "SUCCEEDED"):
                found.append(Broken(Kind.LOSS, f"task {task} has ended {shown['status']}: {shown['error']}"))
        federation = self._modules.federation
        with opened(federation.places.database_url) as database:
            for each in stored.check(database, federation.channel, timedelta(days=7)):
                found.append(Broken(Kind.TRACE, f"{each.rule}: {each.asset_key}: {each.words}"))
        return found

    def _insist(self, call: Callable[[], httpx.Response]) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                answer = call()
                if answer.is_success:
                    body: dict[str, Any] = answer.json()
                    return body
                if answer.status_code not in (503, 504) or time.monotonic() > deadline:
                    raise AssertionError(f"{answer.request.url}: {answer.status_code} {answer.text}")
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            self.revive()
            time.sleep(_LOOK_SECONDS)


def soak(harmed: Harmed, chance: random.Random, seconds: float) -> None:
    """Harm a deployment for some time, in which problems never stop coming.

    Args:
        harmed: the deployment.
        chance: what decides.
        seconds: how long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while len(harmed.open_tasks()) < _AT_ONCE:
            harmed.submit()
        harmed.strike(chance)
        time.sleep(chance.uniform(0.2, 2.0))


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.problems", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=None, help="of chance; another one each time by default")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"problems: seed {seed}, {options.minutes:g} minutes", flush=True)
    interrupts.heed()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as scratch,
        Modules(passable(Path(scratch)), SETTINGS) as modules,
        six(modules) as scripts,
    ):
        for kind in CLASSES:
            modules.say(kind, "sleep:0.3")
        harmed = Harmed(modules, scripts)
        soak(harmed, random.Random(seed), 60 * options.minutes)
        broken = harmed.broken()
        for name, count in sorted(harmed.strikes.items()):
            print(f"{f'killed: {name}':24} {count:6}")
        print(f"{'problems':24} {len(harmed.accepted):6}")
        print(f"{'calls of callbacks':24} {len(modules.calls()):6}")
        print(f"{'promises broken':24} {len(broken):6}")
        harmed.close()
    for each in broken[:100]:
        print(f"{each.kind}: {each.words}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
