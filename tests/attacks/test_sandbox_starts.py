"""What the sandbox adds to the start of a function."""

import resource
from pathlib import Path

import psutil

from workers.executors.executor import Ending, Outcome

from .contained import EXECUTORS, LIMITS, Contained


def spent() -> float:
    """The processor time of all processes that this one has started, and of all that descends from them."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A launcher lives on, and has waited for those that it started.
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return ended.ru_utime + ended.ru_stime + sum(sum(each[:4]) for each in times)


def test_a_start_stays_cheap(tmp_path: Path) -> None:
    """In processor time, which a busy machine does not stretch, next to what the launcher alone takes."""
    took = {}
    for kind in EXECUTORS:
        (tmp_path / kind).mkdir()
        contained = Contained(tmp_path / kind, kind)
        contained.run("pass")
        before = spent()
        for _ in range(5):
            assert contained.run("pass", LIMITS) == Outcome(Ending.EXITED, 0)
        took[kind] = (spent() - before) / 5
    print(f"seconds of processor time a start: {took}")
    assert took["sandbox"] < 4 * took["subprocess"]
