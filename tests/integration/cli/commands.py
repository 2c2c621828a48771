"""Runs the `orchestrator` command: in this process, or as a user does, in one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded.certificates import Layout
from tests.kit import commands
from tests.kit.partners import Partners
from tests.kit.processes import clean_environment

SECONDS = 60


def options(network: Partners, certificates: Layout, organization: str = "org-1") -> list[str]:
    """What says which orchestrator, and as whom."""
    files = certificates.client(organization)
    return [
        *("--address", network.address, "--org", organization, "--channel", network.channel),
        *("--ca-cert", str(files.authority), "--cert", str(files.certificate), "--key", str(files.key)),
    ]


def run(*arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command, run in this process."""
    done = commands.run(*arguments, environment=environment, folder=folder)
    return done.returncode, done.stdout, done.stderr


def run_apart(*arguments: str) -> tuple[int, str, str]:
    """Return the same, as a user sees it: of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def run_in_terminal(*arguments: str, columns: int = 120) -> tuple[int, bytes]:
    """Return exit code and output of a command that writes to a terminal of so many columns."""
    ours, theirs = os.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=clean_environment({"TERM": "xterm", "COLUMNS": str(columns)}),
        stdout=theirs,
    ) as process:
        os.close(theirs)
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # so Linux says that the other side was closed
        finally:
            os.close(ours)
        return process.wait(SECONDS), shown


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command beside the test, and end it if the test did not."""
    command = [sys.executable, "-u", "-m", "orchestrator", *arguments]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
