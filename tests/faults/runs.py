"""What the functions of a fault test say of themselves: each run writes when it began and ended, and holds a lock.

The lock is the kernel's: it ends with the process that has it, however that went, so what finds it taken runs while
another run of the same task still does.
"""

import contextlib
import fcntl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

FILE = "runs"

_SOURCE = """
import fcntl, json, os, sys, time
lines = open(sys.argv[1][1:]).read().splitlines()
model = json.loads(lines[5])[0]["value"]
run = model.split("/")[-3]
task, number = run[:36], run[37:].partition("-")[0]
def tell(word):
    with open({place!r} + "/runs", "a") as file:
        file.write(f"{{word}} {{task}} {{number}} {{os.getpid()}} {{time.time()}}\\n")
lock = os.open({place!r} + "/" + task, os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    tell("double")
tell("start")
if {frail!r} and number == "1":
    sys.exit(1)
{code}
time.sleep({seconds!r})
with open(model, "w") as file:
    file.write(task)
tell("end")
"""

# -IS: it starts three times as fast.
DOCKERFILE = 'FROM python:3.11-slim\nENTRYPOINT ["python3", "-IS", "function.py"]\n'


def source(place: Path, seconds: float, frail: bool = False, code: str = "") -> str:
    """Return a function that writes one model.

    Args:
        place: folder where it says what it does.
        seconds: how long it takes.
        frail: whether it fails at the first attempt.
        code: what it does first.
    """
    return _SOURCE.format(place=str(place), seconds=seconds, frail=frail, code=code)


@dataclass(frozen=True)
class Word:
    """One line of a run.

    Args:
        word: `start`, `end`, or `double` when another run of the task still ran.
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
    return words


def running(place: Path, tasks: Iterable[str]) -> list[str]:
    """Return those of some tasks whose function runs now."""
    found = []
    for task in tasks:
        with contextlib.suppress(FileNotFoundError), (place / task).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(task)
    return found


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
        Broken(Kind.DOUBLE, f"task {word.task} ran twice at once: attempt {word.number}")
        for word in words
        if word.word == "double"
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
