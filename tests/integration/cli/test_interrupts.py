"""A Ctrl-C at whatever moment of a command's beginning: it ends, and shows nobody Python."""

import signal
import subprocess
import sys

import pytest

from tests.kit.processes import clean_environment

# Sends itself the signal at the moment when it begins to import a module.
_AT = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)
            # Python hears it before the next line.
            for _ in range(1000):
                pass
        return None
sys.meta_path.insert(0, Finder())
sys.argv = ["orchestrator", *sys.argv[1:]]
runpy.run_module("orchestrator", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module", ["orchestrator.cli.main", "click", "orchestrator.cli.plan", "orchestrator.client.errors"]
)
def test_a_command_that_is_interrupted_while_it_is_imported_ends_without_a_word(module: str):
    done = subprocess.run(
        [sys.executable, "-c", _AT.replace("MODULE", repr(module)), "plan", "--data", "/nowhere", "list"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_federation_that_has_not_begun_ends_with_a_word(command: str):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _AT.replace("MODULE", "'orchestrator.embedded.federation'"),
            command,
            "--data",
            "/nowhere",
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "Everything has ended\n", "")


def test_who_ignores_it_goes_on():
    code = _AT.replace("MODULE", repr("click"))
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-c", code, "--version"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "version" in done.stdout
