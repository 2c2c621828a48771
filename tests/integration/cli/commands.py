"""Runs the `orchestrator` command as a user does: a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded.certificates import Layout
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
    """Return exit code, output and errors of a command, after checking that it ended without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=clean_environment(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def run_in_terminal(*arguments: str) -> tuple[int, bytes]:
    """Return exit code and output of a command that writes to a terminal."""
    ours, theirs = os.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=clean_environment({"TERM": "xterm", "COLUMNS": "120"}),
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
