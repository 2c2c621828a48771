"""The `orchestrator` command, run in the tests' own process: a process of its own takes a second to import it."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import structlog
from click.testing import CliRunner

from orchestrator.cli.main import main


def run_bytes(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end, and return what a process would have left.

    Args:
        arguments: of `orchestrator`.
        environment: more of its environment; our settings are not inherited.
        folder: where it runs; here by default.

    Raises:
        Exception: what the command did not expect, where a process shows a traceback.
    """
    settings = {name: None for name in os.environ if name.startswith("ORCHESTRATOR_")} | dict(environment or {})
    logging = structlog.get_config()
    try:
        with chdir(folder or Path.cwd()):
            done = CliRunner().invoke(main, arguments, prog_name="python -m orchestrator", env=settings)
    finally:
        structlog.configure(**logging)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout_bytes, done.stderr_bytes)


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Do as `run_bytes`, for a command that prints text."""
    done = run_bytes(*arguments, environment=environment, folder=folder)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
