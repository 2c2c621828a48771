"""A function runs only while its lease holds: else it is paused, and does not even run to hear that it must end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from tests.kit.processes import lives
from tests.kit.waiting import wait_until
from workers.executors import watch
from workers.executors.executor import Ending, Job, Limits, Outcome
from workers.executors.lease import clock
from workers.executors.local import Local
from workers.executors.subprocess import OpenBox, short_home

LIMITS = Limits(time=60.0, grace=60.0, memory=None, file_size=10_000_000)
LONG = 600.0

# Busy, with a child in its group, and one that its parent left behind in a session of its own.
BUSY = """
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (here / "heard").touch())
python = [sys.executable, "-IS", "-c"]
spin = [*python, "import itertools; all(True for _ in itertools.count())"]
hides = (
    "import subprocess; quiet = subprocess.DEVNULL; "
    f"print(subprocess.Popen({spin}, start_new_session=True, stdout=quiet).pid)"
)
child = subprocess.Popen(spin)
left = subprocess.run([*python, hides], stdout=subprocess.PIPE, check=True, text=True)
(here / "draft").write_text(f"[{os.getpid()}, {child.pid}, {left.stdout}]")
(here / "draft").rename(here / "pids")
while True:
    pass
"""
WORKER = """
import sys, threading
from pathlib import Path
from workers.executors import watch
from workers.executors.executor import Job, Limits
from workers.executors.local import Local
from workers.executors.subprocess import OpenBox
folder = Path(sys.argv[1])
job = Job(folder, sys.argv[2:], Limits(60.0, 60.0, None, 10**7), lease=folder / "lease")
watch.run(Local(OpenBox()), job, threading.Event())
"""


class Run:
    """A busy function with a lease."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("function", "home", "outputs"):
            (folder / name).mkdir()
        self.lease = folder / "lease"
        self.lease.touch()
        self.stop = threading.Event()
        self.threads = ThreadPoolExecutor(1)
        self.renew(LONG)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-IS", "-c", BUSY, str(self.folder)]

    def renew(self, seconds: float) -> None:
        until = clock() + seconds
        os.utime(self.lease, (until, until))

    def begin(self, limits: Limits = LIMITS) -> Future[Outcome]:
        job = Job(self.folder, self.command, limits, lease=self.lease)
        future = self.threads.submit(watch.run, Local(OpenBox()), job, self.stop)
        self.processes()
        return future

    def processes(self) -> list[psutil.Process]:
        """Wait until it runs; return its processes."""
        file = self.folder / "pids"
        wait_until(file.exists, timeout=30, message="the function's children to start")
        return [psutil.Process(pid) for pid in json.loads(file.read_text())]

    def heard(self) -> bool:
        return (self.folder / "heard").exists()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.stop.set()
    run.renew(-1)
    run.threads.shutdown()
    # A worker that was killed leaves it to the cleanup of its task.
    short_home(tmp_path / "home").unlink(missing_ok=True)


def cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def paused(processes: list[psutil.Process]) -> bool:
    return all(process.status() == psutil.STATUS_STOPPED for process in processes)


def pass_time(seconds: float) -> None:
    end = clock() + seconds
    wait_until(lambda: clock() > end)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(lives(process) for process in processes)


def test_what_has_no_lease_does_not_run_until_it_is_renewed(run: Run) -> None:
    run.begin()
    processes = run.processes()
    run.renew(0.2)
    wait_until(lambda: paused(processes), message="all its processes to be stopped")
    used = [cpu(process) for process in processes]
    pass_time(1.0)
    assert [cpu(process) for process in processes] == used
    run.renew(LONG)
    wait_until(lambda: all(cpu(each) > before for each, before in zip(processes, used, strict=True)), timeout=30)


def test_what_others_continue_is_stopped_again(run: Run) -> None:
    run.begin()
    processes = run.processes()
    run.renew(-1)
    wait_until(lambda: paused(processes), message="all its processes to be stopped")
    used = [cpu(process) for process in processes]
    for process in processes:
        process.resume()
    wait_until(lambda: paused(processes), message="all its processes to be stopped again")
    assert all(cpu(process) - before < 1.0 for process, before in zip(processes, used, strict=True))


def test_a_paused_function_that_is_to_end_never_runs_again(run: Run) -> None:
    outcome, processes = run.begin(), run.processes()
    run.renew(-1)
    wait_until(lambda: paused(processes), message="all its processes to be stopped")
    run.stop.set()
    assert outcome.result(60) == Outcome(Ending.STOPPED)
    assert gone(processes)
    assert not run.heard()


def test_the_grace_ends_with_the_lease(run: Run) -> None:
    outcome, processes = run.begin(), run.processes()
    run.stop.set()
    wait_until(run.heard, message="the function to hear that it is to end")
    assert not gone(processes)
    run.renew(0.2)
    assert outcome.result(60) == Outcome(Ending.STOPPED)
    assert gone(processes)


def test_a_pause_does_not_count_against_the_time_limit_and_is_logged(run: Run) -> None:
    with capture_logs() as lines:
        outcome, processes = run.begin(replace(LIMITS, time=6.0)), run.processes()
        run.renew(-1)
        wait_until(lambda: paused(processes), message="all its processes to be stopped")
        pass_time(7.0)
        assert not outcome.done()
        run.renew(LONG)
        wait_until(run.heard, message="the time limit")
        run.renew(-1)
        assert outcome.result(60).ending is Ending.TIMED_OUT
    assert [line["event"] for line in lines] == ["function.paused", "function.resumed"]
    assert lines[1]["seconds"] >= 7.0


@contextlib.contextmanager
def worker_of(run: Run) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the function by a process of its own, which is killed at the end of the block."""
    command = [sys.executable, "-c", WORKER, str(run.folder), *run.command]
    with subprocess.Popen(command) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def test_a_paused_function_ends_at_once_with_a_worker_that_is_killed(run: Run) -> None:
    with worker_of(run):
        processes = run.processes()
        run.renew(-1)
        wait_until(lambda: paused(processes), message="all its processes to be stopped")
    wait_until(lambda: gone(processes), timeout=60, message="the function's processes to end")
    assert not run.heard()


def test_a_paused_function_ends_with_its_launcher(run: Run) -> None:
    outcome, processes = run.begin(), run.processes()
    run.renew(-1)
    wait_until(lambda: paused(processes), message="all its processes to be stopped")
    processes[0].parent().kill()
    assert outcome.result(60) == Outcome(Ending.EXITED, 128 + signal.SIGKILL)
    assert gone(processes)


def test_a_function_does_not_go_on_unguarded(run: Run) -> None:
    """Its launcher is gone, and those that would notice are frozen."""
    with worker_of(run) as worker:
        function, *children = run.processes()
        worker.send_signal(signal.SIGSTOP)
        function.parent().kill()
        wait_until(lambda: gone([function, *children]), message="the function and all that it left to end")
