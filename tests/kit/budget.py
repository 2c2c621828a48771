"""How much processor time the tests of each folder take, held against `tests/budget.toml`.

Counted are the seconds, user and system, of pytest's processes with all their threads, of every process below them that
has ended and was waited for (the kernel adds them up in whoever waited), and of those that still run: servers, workers,
what these started, and what of that has ended. They are read at the end of a test's setup, call and teardown, unless
that was just done. A server that many files share is charged to those in whose time it worked, its start to the first.

A process whose parent is killed becomes a child of init and is lost of sight, with all that it took: what was read of
it stays charged, what it took since then, and what others take until the next reading, is not counted where the loss is
larger. So a test that kills whole trees of processes looks cheaper than it is. What ran before and is only asked, like
an engine of containers, is not counted at all.
"""

import resource
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import psutil
import pytest

OVERHEAD = "(overhead)"
"""What it takes to import the tests, in each of pytest's processes, and to lead these."""
DEAREST = 8
_LOOK_SECONDS = 0.25
"""The least time between two readings, each of which takes milliseconds."""


def own() -> float:
    """Return the seconds of processor time that this process alone has taken until now."""
    return _seconds(resource.RUSAGE_SELF)


def spent() -> float:
    """Return the seconds of processor time that this process and all below it have taken until now."""
    total = own() + _seconds(resource.RUSAGE_CHILDREN)
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def _seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


@dataclass
class Ledger:
    """What was spent, by file, and which folders ran as a whole.

    Args:
        files: seconds by file, relative to the folder of all tests.
        whole: folders of which no file and no test was left out.
    """

    files: dict[str, float] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def charge(self, file: str, seconds: float) -> None:
        """Add to what a file has taken; what was lost of sight takes nothing back."""
        self.files[file] = self.files.get(file, 0.0) + max(seconds, 0.0)

    def add(self, other: "Ledger") -> None:
        """Add what another process has spent; the same folders were whole in it."""
        for file, seconds in other.files.items():
            self.charge(file, seconds)
        self.whole |= other.whole

    def folders(self, budget: Mapping[str, float]) -> dict[str, float]:
        """Return the seconds by the folders that have a budget, and by those that have none."""
        found = dict.fromkeys(budget, 0.0)
        for file, seconds in self.files.items():
            folder = folder_of(file, budget)
            found[folder] = found.get(folder, 0.0) + seconds
        return found

    def broken(self, budget: Mapping[str, float]) -> list[str]:
        """Say of which folders that ran whole the tests took more than twice the budget."""
        return [
            f"{folder} took {seconds:.0f} s of processor time: more than twice its budget of {budget[folder]:g} s"
            for folder, seconds in self.folders(budget).items()
            if folder in self.whole and seconds > 2 * budget.get(folder, float("inf"))
        ]

    def lines(self, budget: Mapping[str, float]) -> Iterator[str]:
        """Return the table for people."""
        yield f"{'folder':32}{'used':>8}{'budget':>8}  seconds of processor time"
        for folder, seconds in sorted(self.folders(budget).items()):
            if seconds:
                allowed = f"{budget[folder]:g}" if folder in budget else "none"
                part = "" if folder in self.whole or folder == OVERHEAD else "  (not all of it ran)"
                yield f"{folder:32}{seconds:8.1f}{allowed:>8}{part}"
        yield f"{'all':32}{sum(self.files.values()):8.1f}{sum(budget.values()):8g}"
        dearest = sorted(self.files.items(), key=lambda item: -item[1])[:DEAREST]
        yield "dearest: " + ", ".join(f"{file} {seconds:.1f}" for file, seconds in dearest)


def folder_of(file: str, budget: Mapping[str, float]) -> str:
    """Return the nearest folder above a file that has a budget; the file's own if none has."""
    if file == OVERHEAD:
        return file
    above = [str(folder) for folder in PurePosixPath(file).parents]
    return next((folder for folder in above if folder in budget), above[0])


def read(root: Path) -> dict[str, float]:
    """Return the budget of the tests below a folder: seconds of processor time by folder."""
    told = tomllib.loads((root / "budget.toml").read_text())["seconds"]
    return {folder: float(seconds) for folder, seconds in told.items()}


class Budget:
    """The plugin of pytest: it counts, prints, and fails a run in which a whole folder took more than twice its budget.

    Args:
        root: folder of all tests, with `budget.toml`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._budget = read(root)
        self._ledger = Ledger()
        self._parts: set[str] = set()
        self._leads = False
        self._file, self._begin, self._looked = OVERHEAD, 0.0, 0.0

    def _look(self) -> None:
        now = spent()
        self._ledger.charge(self._file, now - self._begin)
        self._begin, self._looked = now, time.monotonic()

    def _turn_to(self, file: str) -> None:
        if file != self._file:
            self._look()
            self._file = file

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which folders run as a whole."""
        chosen = {self._of(item.path) for item in session.items}
        there = [self._of(path) for path in self._root.rglob("test_*.py")]
        parts = self._parts | {folder_of(file, self._budget) for file in there if file not in chosen}
        if not any("::" in argument for argument in session.config.args):
            self._ledger.whole |= {folder_of(file, self._budget) for file in chosen} - parts

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """A folder of which tests were left out is no whole one."""
        self._parts |= {folder_of(self._of(item.path), self._budget) for item in items}

    def _of(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Charge what comes to the test's file."""
        self._turn_to(self._of(item.path))
        return (yield)

    def pytest_runtest_makereport(self) -> None:
        """Charge what a phase of a test took."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take what a process of pytest-xdist has spent."""
        self._leads = True
        told = getattr(node, "workeroutput", {}).get("budget")
        if told:
            self._ledger.add(Ledger(told["files"], set(told["whole"])))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close the books: hand them to the controlling process, or judge them."""
        if self._leads:
            self._ledger.charge(OVERHEAD, own())
        else:
            self._turn_to("")
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["budget"] = {"files": self._ledger.files, "whole": [*self._ledger.whole]}
            return
        if session.shouldstop or session.shouldfail or session.exitstatus not in (0, 1):
            self._ledger.whole.clear()
        if self._ledger.broken(self._budget):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if any(file != OVERHEAD for file in self._ledger.files):
            terminalreporter.section("budget")
            for line in self._ledger.lines(self._budget):
                terminalreporter.write_line(line)
            for line in self._ledger.broken(self._budget):
                terminalreporter.write_line(line, red=True)
