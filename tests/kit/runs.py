"""What the functions of a fault test say of themselves: when each run began and ended, and that it runs at all.

Each run of a task has a file of its own. It locks it, and the lock ends with the process, however that went; it touches
it again and again, and says so when it could not for a while: it was paused, or frozen, and did not run.
"""

import fcntl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

FILE = "runs"

TOLERANCE_SECONDS = 0.25
"""How long two runs of a task may run at once. A machine that thaws wakes a function and what pauses it at the same
moment, and on a busy one the latter waits for its turn."""

_TICK_SECONDS = 0.02
_REST_SECONDS = 0.2

_SOURCE = """
import fcntl, json, os, sys, time
lines = open(sys.argv[1][1:]).read().splitlines()
model = json.loads(lines[5])[0]["value"]
mounts = [line.split() for line in open("/proc/self/mountinfo")]
# In a sandbox the outputs are bound to another place.
run = ([mount[3] for mount in mounts if mount[4] == "/outputs"] or [model[: model.rindex("/")]])[0].split("/")[-2]
task, number = run[:36], run[37:].partition("-")[0]
def tell(word, when=None):
    with open({place!r} + "/runs", "a") as file:
        file.write(f"{{word}} {{task}} {{number}} {{os.getpid()}} {{when or time.time()}}\\n")
alive = os.open({place!r} + f"/{{task}}-{{number}}", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(alive, fcntl.LOCK_EX)
tell("start")
if {frail!r} and number == "1":
    sys.exit(1)
seconds = {seconds!r}
{code}
end, ticked = time.monotonic() + seconds, time.time()
while True:
    now = time.time()
    if now - ticked > {rest!r}:
        tell("pause", ticked)
        tell("resume", now)
    ticked = now
    os.utime(alive, (now, now))
    if time.monotonic() >= end:
        break
    time.sleep(min({tick!r}, seconds))
with open(model, "w") as file:
    file.write(task)
tell("end")
"""

# -IS: it starts three times as fast.
DOCKERFILE = 'FROM python:3-slim\nENTRYPOINT ["python3", "-IS", "function.py"]\n'


def source(place: Path, seconds: float, frail: bool = False, code: str = "") -> str:
    """Return a function that writes one model.

    Args:
        place: folder where it says what it does.
        seconds: how long it takes.
        frail: whether it fails at the first attempt.
        code: what it does first; it may set `seconds`, by the `number` of the attempt.
    """
    return _SOURCE.format(
        place=str(place), seconds=seconds, frail=frail, code=code, tick=_TICK_SECONDS, rest=_REST_SECONDS
    )


@dataclass(frozen=True)
class Word:
    """One line of a run.

    Args:
        word: `start`, `end`, `pause` and `resume`, or `last`: it was there then, and did not say more.
        task: its key.
        number: of the attempt.
        time: in seconds since 1970.
    """

    word: str
    task: str
    number: int
    time: float


def read(place: Path) -> list[Word]:
    """Return all that was said in a folder."""
    file = place / FILE
    if not file.exists():
        return []
    words = []
    for line in file.read_text().splitlines():
        word, task, number, _, time = line.split()
        words.append(Word(word, task, int(number), float(time)))
    for run in place.glob("*-*-*-*-*-*"):
        task, _, number = run.name.rpartition("-")
        words.append(Word("last", task, int(number), run.stat().st_mtime))
    return words


def running(place: Path, tasks: Iterable[str]) -> list[str]:
    """Return those of some tasks whose function runs now."""
    return [task for task in tasks if any(_locked(run) for run in place.glob(f"{task}-*"))]


def _locked(file: Path) -> bool:
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Span(NamedTuple):
    """A time in which a run of a task ran.

    Args:
        number: of the attempt.
        begin: in seconds since 1970.
        end: as well.
    """

    number: int
    begin: float
    end: float


def spans(words: Iterable[Word]) -> Mapping[str, list[Span]]:
    """Return when each task ran."""
    found: dict[str, list[Span]] = defaultdict(list)
    begun: dict[tuple[str, int], float] = {}
    for word in sorted(words, key=lambda word: word.time):
        run = word.task, word.number
        if word.word in ("start", "resume"):
            begun[run] = word.time
        elif run in begun:
            found[word.task].append(Span(word.number, begun.pop(run), word.time))
    return found


def overlaps(words: Iterable[Word]) -> Iterator[tuple[str, Span, Span]]:
    """Return the tasks of which two runs ran at the same time, for longer than is tolerated, and when."""
    for task, ran in spans(words).items():
        for one, other in combinations(ran, 2):
            seconds = min(one.end, other.end) - max(one.begin, other.begin)
            if one.number != other.number and seconds > TOLERANCE_SECONDS:
                yield task, one, other


class Kind(StrEnum):
    """Which promise was broken."""

    LOSS = "loss"
    DOUBLE = "double"
    LATE = "late"
    TRACE = "trace"


class Broken(NamedTuple):
    """A promise that was broken.

    Args:
        kind: which.
        words: what happened, for people.
    """

    kind: Kind
    words: str


def faults(words: list[Word], done: Mapping[str, int], ended: Mapping[str, float]) -> list[Broken]:
    """Return what must not have happened.

    Args:
        words: all that was said.
        done: the tasks that are Done, and the number of the attempt that did it.
        ended: the tasks that were cancelled, and the last moment at which a run of them may begin.
    """
    found = [
        Broken(Kind.DOUBLE, f"task {task} ran twice at once: {one}, {other}") for task, one, other in overlaps(words)
    ]
    whole = {(word.task, word.number) for word in words if word.word == "end"}
    for task, number in done.items():
        if (task, number) not in whole:
            found.append(Broken(Kind.LOSS, f"task {task} is Done, and its attempt {number} never ran"))
    for word in words:
        if word.word == "start" and word.time > ended.get(word.task, float("inf")):
            late = word.time - ended[word.task]
            found.append(Broken(Kind.LATE, f"task {word.task} began {late:.1f} s too late, after it was cancelled"))
    return found
