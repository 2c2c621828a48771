import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.kit.processes import lives
from tests.kit.waiting import wait_until

KillSupervisor = Callable[[Path, str], list[psutil.Process]]


@pytest.fixture
def kill_supervisor() -> KillSupervisor:
    """Start a supervisor with a service, kill it with -9, and return the service's processes, still to end."""

    def kill(folder: Path, kind: str) -> list[psutil.Process]:
        script = Path(__file__).with_name("supervisor.py")
        with subprocess.Popen(
            [sys.executable, str(script), str(folder), kind], stdout=subprocess.PIPE, text=True
        ) as supervisor:
            try:
                assert supervisor.stdout is not None
                service = psutil.Process(int(supervisor.stdout.readline()))
                return [service, *service.children(recursive=True)]
            finally:
                supervisor.kill()

    return kill


@pytest.fixture
def gone() -> Iterator[Callable[[list[psutil.Process]], None]]:
    """Wait until processes have ended; those that stay fail the test and are killed."""
    seen: list[psutil.Process] = []

    def wait(processes: list[psutil.Process]) -> None:
        seen.extend(processes)
        wait_until(lambda: not any(lives(process) for process in processes), message=f"the end of {processes}")

    yield wait
    for process in seen:
        if lives(process):
            process.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
