"""Monkeys for as long as one likes, on compute plans that never stop coming: `python -m tests.faults.soak`.

Of several servers one is killed every ten seconds besides, and in the middle the release that is made up to come next
is brought in, server by server.

Exits with 1 when a promise was broken, and says which.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from orchestrator.calls.loss import VARIABLE
from orchestrator.client import CallError
from tests.faults import monkeys
from tests.faults.monkeys import MONKEYS, Monkey
from tests.kit import interrupts
from tests.kit.followed import Followed
from tests.kit.runs import Broken, Kind
from tests.kit.stage import Stage

LOST_ANSWERS = 0.01
PLANS = 2
_PATIENCE_SECONDS = 300.0
KILL_SECONDS = 10.0
_CANCELLED = 0.15
"""The share of plans that are cancelled on their way."""


class Soak:
    """One run of monkeys on a stage.

    Args:
        stage: where.
        seed: of everything that is left to chance here.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._chance = random.Random(seed)
        self._monkeys: list[Monkey] = [
            monkey for monkey in MONKEYS if stage.disk is not None or monkey is not monkeys.fill_disk
        ]
        if stage.processes > 1 and len(stage.servers) == 1:
            self._monkeys.append(monkeys.kill_server_process)
        self._cancelled: dict[Followed, float] = {}
        self.plans: list[Followed] = []
        self.strikes: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Harm the federation for some time, with plans running."""
        begin = killed = time.monotonic()
        upgraded = len(self._stage.servers) == 1
        while (now := time.monotonic()) < begin + seconds:
            self._stage.revive()
            while sum(not plan.over for plan in self.plans) < PLANS:
                self.plans.append(self._stage.plan(self._chance.randint(6, 24), self._chance.randint(2, 4)))
            if self._chance.random() < _CANCELLED:
                self._cancel(self.plans[-1])
            if not upgraded and now > begin + seconds / 2:
                self._strike(upgrade)
                upgraded = True
            if len(self._stage.servers) > 1 and now > killed + KILL_SECONDS:
                self._strike(monkeys.kill_server)
                killed = now
            self._strike(self._chance.choice(self._monkeys))
            time.sleep(self._chance.uniform(0.2, 2.0))
        self._stage.restore()

    def _strike(self, monkey: Monkey) -> None:
        monkey(self._stage, self._chance)
        self.strikes[monkey.__name__] += 1

    def _cancel(self, plan: Followed) -> None:
        try:
            self._stage.client().cancel(plan.plan)
        except CallError as error:
            # It had ended; or nobody answers, and it may be cancelled or not.
            if error.lost:
                self._cancelled[plan] = float("inf")
            return
        self._cancelled[plan] = time.time()

    def broken(self) -> list[Broken]:
        """Wait for the end of all plans; return the promises that were broken."""
        found = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for plan in self.plans:
            try:
                plan.wait(max(1.0, deadline - time.monotonic()))
            except (AssertionError, CallError) as error:
                found.append(Broken(Kind.LOSS, str(error)))
            found += plan.faults(cancelled=self._cancelled.get(plan))
        return [*found, *self._stage.violations()]


def upgrade(stage: Stage, _: random.Random) -> None:
    """Bring in the next release; the plans go on."""
    stage.restore()
    stage.upgrade()


def report(soak: Soak, broken: list[Broken], lost_answers: int) -> None:
    """Print what happened."""
    for name, count in sorted(soak.strikes.items()):
        print(f"{name.replace('_', ' '):24} {count:6}")
    print(f"{'answers lost':24} {lost_answers:6}")
    kinds = Counter(each.kind for each in broken)
    figures = {
        "plans": len(soak.plans),
        "tasks": sum(len(plan.plan.tasks) for plan in soak.plans),
        "attempts": sum(plan.attempts() for plan in soak.plans),
        "doubles": kinds[Kind.DOUBLE],
        "losses": kinds[Kind.LOSS],
        "late": kinds[Kind.LATE],
        "trace violations": kinds[Kind.TRACE],
    }
    print()
    for name, count in figures.items():
        print(f"{name:24} {count:6}")
    for each in broken[:100]:
        print(f"{each.kind}: {each.words}", file=sys.stderr)


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=None, help="of chance; another one each time by default")
    parser.add_argument("--keep", type=Path, default=None, help="an empty folder, to keep all data and logs in")
    parser.add_argument("--processes", type=int, default=1, help="of each server (default: 1)")
    parser.add_argument("--servers", type=int, default=3, help="behind one address (default: 3)")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(
        f"seed {seed}, {options.minutes:g} minutes, {options.servers} servers of {options.processes} processes",
        flush=True,
    )
    interrupts.heed()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        kept = options.keep is not None
        with Stage(folder, keep=kept, processes=options.processes, servers=options.servers) as stage:
            for name in stage.servers:
                server = stage.service(name)
                assert server.environment is not None
                server.environment[VARIABLE] = str(LOST_ANSWERS)
                stage.kill(name)
            stage.restore()
            soak = Soak(stage, seed)
            soak.run(60 * options.minutes)
            broken = soak.broken()
            logs = [stage.service(name).log.read_text(errors="replace") for name in stage.servers]
            report(soak, broken, sum(log.count('"event": "answer.lost"') for log in logs))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
