"""Many problems in a row through six module processes that nobody harms: each callback is called once for each, and no
process grows with their number.

`python -m tests.faults.many_problems` runs 600, `--problems 10000` as many as tell growth from noise; it exits with 1
when a promise was broken, and says which.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psutil

from orchestrator.embedded.processes import Process
from tests.faults.problems import Harmed
from tests.kit import interrupts
from tests.kit.modules import CLASSES, Modules, Script, six
from tests.kit.runs import Broken, Kind
from tests.kit.temporary import passable

_AT_ONCE = 20
_WARM = 0.3
"""The part after which every process has what it needs."""
_MOST_GROWTH = 12.0
"""MB that a process may have gained since: pools of connections and of memory that its work has filled."""
_PAUSE_SECONDS = 0.1
_QUIET = {"MODULE_SILENCE": "60s", "PROBLEMS_HARD_LIMITS": ""}


def memory(modules: Modules, scripts: Mapping[str, Script]) -> dict[str, float]:
    """Return the memory of each process that must not grow, in MB: the server's, the modules' and their agents'."""
    server = modules.federation.service("serve")
    assert isinstance(server, Process)
    processes = {"serve": psutil.Process(server.pid)}
    for kind, script in scripts.items():
        processes[kind] = psutil.Process(script.pid)
        for number, child in enumerate(processes[kind].children()):
            processes[f"{kind}, agent {number}"] = child
    return {name: process.memory_full_info().uss / 2**20 for name, process in processes.items()}


def run(modules: Modules, scripts: dict[str, Script], count: int) -> list[Broken]:
    """Have problems worked through, some at once; return the promises that were broken.

    Args:
        modules: a deployment.
        scripts: its modules.
        count: of problems.
    """
    with contextlib.closing(Harmed(modules, scripts)) as desk:
        before: dict[str, float] = {}
        while len(desk.accepted) < count:
            for _ in range(min(_AT_ONCE - len(desk.open_tasks()), count - len(desk.accepted))):
                desk.submit()
            if not before and len(desk.accepted) >= _WARM * count:
                before = memory(modules, scripts)
            time.sleep(_PAUSE_SECONDS)
        broken = desk.broken()
        after = memory(modules, scripts)
    for name, least in before.items():
        print(f"{name:32} {least:7.1f} MB {after[name]:7.1f} MB")
        if after[name] - least > _MOST_GROWTH:
            broken.append(Broken(Kind.LOSS, f"{name} has grown by {after[name] - least:.1f} MB"))
    calls = Counter((call[0], call[1]) for call in modules.calls())
    wanted = {
        (kind, f"{{{task['problem_id']},{task['iteration_id']}}}"): 1 for task in desk.accepted for kind in CLASSES
    }
    different = {call: (calls[call], wanted.get(call, 0)) for call in calls | wanted if calls[call] != wanted.get(call)}
    broken += [Broken(Kind.DOUBLE, f"{call}: called {had} times, not {due}") for call, (had, due) in different.items()]
    return broken


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.many_problems", description=__doc__)
    parser.add_argument("--problems", type=int, default=600, help="how many (default: 600)")
    options = parser.parse_args()
    interrupts.heed()
    with (
        tempfile.TemporaryDirectory(prefix="many-") as scratch,
        Modules(passable(Path(scratch)), _QUIET) as modules,
        six(modules) as scripts,
    ):
        began = time.monotonic()
        broken = run(modules, scripts, options.problems)
        print(f"{'problems':32} {options.problems:7} in {time.monotonic() - began:.0f} s")
        print(f"{'promises broken':32} {len(broken):7}")
    for each in broken[:100]:
        print(f"{each.kind}: {each.words}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
