import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from orchestrator.embedded import launch
from orchestrator.embedded.processes import Process, ProcessError, Supervisor
from tests.kit.waiting import wait_until

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1; done"


def shell(tmp_path: Path, script: str, **options) -> Process:
    return Process("shell", ["sh", "-c", script], log=tmp_path / "shell.log", **options)


def says(process: Process, word: str):
    return lambda: word in process.log_lines()


@pytest.fixture
def supervisor():
    with Supervisor() as supervisor:
        yield supervisor


def test_it_runs_in_a_session_of_its_own_and_ends_when_asked(tmp_path: Path, supervisor: Supervisor):
    process = shell(tmp_path, "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done")
    supervisor.start(process)
    process.wait_ready(says(process, "ready"))

    assert process.alive
    assert os.getsid(process.pid) == process.pid

    process.stop()

    assert not process.alive
    assert process.log_lines() == ["ready", "bye"]
    assert not psutil.pid_exists(process.pid)


def test_what_does_not_end_is_killed_with_its_whole_group(tmp_path: Path, supervisor: Supervisor, gone):
    process = shell(tmp_path, f"sleep 600 & {STUBBORN}", stop_timeout=0.1)
    supervisor.start(process)
    process.wait_ready(says(process, "ready"))
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]

    process.stop()

    assert len(family) >= 2
    gone(family)


def test_what_a_process_leaves_behind_ends_with_it(tmp_path: Path, supervisor: Supervisor, gone):
    process = shell(tmp_path, "sleep 600 & echo $!; read line < /dev/null; exit 3")
    supervisor.start(process)

    with pytest.raises(ProcessError, match="ended with exit code 3"):
        process.wait_ready(lambda: False)

    pid = int(process.log_lines()[0])
    gone([psutil.Process(pid)] if psutil.pid_exists(pid) else [])


def test_an_early_end_is_told_with_the_end_of_the_log(tmp_path: Path, supervisor: Supervisor):
    process = shell(tmp_path, "seq 100; exit 7")
    supervisor.start(process)

    with pytest.raises(ProcessError) as caught:
        process.wait_ready(lambda: False)

    first, *lines = str(caught.value).splitlines()
    assert first == f"shell ended with exit code 7; the end of its log {tmp_path}/shell.log:"
    assert lines == [f"  {number}" for number in range(81, 101)]


def test_the_log_of_an_earlier_run_is_kept_but_not_blamed(tmp_path: Path, supervisor: Supervisor):
    for script in ("echo first", "exit 1"):
        process = shell(tmp_path, script)
        supervisor.start(process)
        with pytest.raises(ProcessError) as caught:
            process.wait_ready(lambda: False)

    assert "is empty" in str(caught.value)
    assert process.log.read_text() == "first\n"
    assert process.log.stat().st_mode & 0o777 == 0o600


def test_what_never_gets_ready_is_told(tmp_path: Path, supervisor: Supervisor):
    process = shell(tmp_path, "echo busy; sleep 600")
    supervisor.start(process)
    process.wait_ready(says(process, "busy"))

    with pytest.raises(ProcessError, match=r"shell was not ready after 0\.1 s; .*\n  busy"):
        process.wait_ready(lambda: False, timeout=0.1)


def test_a_missing_program_is_told(tmp_path: Path, supervisor: Supervisor):
    process = Process("ghost", ["/no/such/program"], log=tmp_path / "ghost.log")
    supervisor.start(process)

    with pytest.raises(ProcessError, match="/no/such/program cannot be started: No such file or directory"):
        process.wait_ready(lambda: False)


def test_a_dead_service_is_found_by_check(tmp_path: Path, supervisor: Supervisor):
    healthy, doomed = shell(tmp_path, "sleep 600"), shell(tmp_path, "sleep 600")
    supervisor.start(healthy, doomed)
    supervisor.check()

    os.kill(doomed.pid, signal.SIGKILL)

    def error() -> str | None:
        try:
            supervisor.check()
        except ProcessError as error:
            return str(error)
        return None

    assert "was killed by SIGKILL" in wait_until(error)


def test_another_thread_may_not_start_a_process(tmp_path: Path):
    process = shell(tmp_path, "sleep 600")
    errors = []

    def start():
        try:
            process.start()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert ["main thread" in error for error in errors] == [True]
    assert not process.alive


class Recorder:
    """A service that writes down what happens to it; real processes cannot be made to fail to stop."""

    def __init__(self, name: str, record: list[str], error: BaseException | None = None) -> None:
        self.name, self.record, self.error = name, record, error

    def start(self) -> None:
        self.record.append(f"start {self.name}")

    def check(self) -> None:
        pass

    def stop(self) -> None:
        self.record.append(f"stop {self.name}")
        if self.error is not None:
            raise self.error


def test_all_are_stopped_in_reverse_order_even_if_one_fails():
    record: list[str] = []
    supervisor = Supervisor()
    supervisor.start(Recorder("a", record))
    supervisor.start(Recorder("b", record, OSError("b is stuck")))
    supervisor.start(Recorder("c", record))

    with pytest.raises(ExceptionGroup) as caught:
        supervisor.stop()

    assert record == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert [str(error) for error in caught.value.exceptions] == ["b is stuck"]


def test_the_members_of_a_stage_are_stopped_at_the_same_time():
    together = threading.Barrier(3)

    class Waiting(Recorder):
        def stop(self) -> None:
            together.wait(timeout=60)
            super().stop()

    record: list[str] = []
    with Supervisor() as supervisor:
        supervisor.start(*(Waiting(name, record) for name in "abc"))

    assert sorted(record[3:]) == ["stop a", "stop b", "stop c"]


def test_a_failing_start_stops_what_was_started():
    class Broken(Recorder):
        def start(self) -> None:
            raise ProcessError("broken")

    record: list[str] = []
    with Supervisor() as supervisor:
        supervisor.start(Recorder("a", record))
        with pytest.raises(ProcessError, match="broken"):
            supervisor.start(Recorder("b", record), Broken("c", record), Recorder("d", record))

    assert record[0] == "start a"
    assert record[-1] == "stop a"
    assert "stop b" in record
    assert "start d" not in record


@linux_only
def test_a_killed_supervisor_takes_its_children_with_it(tmp_path: Path, kill_supervisor, gone):
    gone(kill_supervisor(tmp_path, "sleep"))


@linux_only
@pytest.mark.parametrize("death_signal", ["SIGTERM", "SIGINT"])
def test_the_death_signal_can_be_chosen(tmp_path: Path, death_signal: str):
    log = tmp_path / "log"
    child = f"trap 'echo SIGTERM >> {log}; exit' TERM; trap 'echo SIGINT >> {log}; exit' INT; "
    child += f"echo ready >> {log}; while :; do sleep 0.01; done"
    arguments = [
        sys.executable,
        "-m",
        "orchestrator.embedded.launch",
        f"--death-signal={death_signal}",
        "--",
    ]
    # The middle one starts the child and waits for it; its end is the end of a supervisor.
    middle = f"import subprocess; subprocess.run({[*arguments, 'sh', '-c', child]!r})"
    with subprocess.Popen([sys.executable, "-c", middle], start_new_session=True) as supervisor:
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        supervisor.kill()

    wait_until(lambda: log.read_text().split() == ["ready", death_signal], message="the signal")


def test_nothing_is_started_for_a_supervisor_that_is_gone(tmp_path: Path):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    result = subprocess.run(
        [sys.executable, launch.__file__, f"--parent={gone.pid}", "--", "touch", str(tmp_path / "file")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode != 0
    assert "its supervisor has ended" in result.stderr
    assert not (tmp_path / "file").exists()


@root_only
@linux_only
def test_privileges_are_dropped_for_good():
    result = subprocess.run(
        [
            *(sys.executable, launch.__file__, "--uid=65534", "--gid=65533"),
            *("--", "grep", "-E", "^(Uid|Gid|Groups|CapPrm):", "/proc/self/status"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line.split() for line in result.stdout.splitlines()] == [
        ["Uid:", *["65534"] * 4],
        ["Gid:", *["65533"] * 4],
        ["Groups:"],
        ["CapPrm:", "0" * 16],
    ]
