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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_a_class_is_made_ends_it_too(number: signal.Signals):
    """Python 3.11 makes another error of what its handler raises there."""
    made = f"""
            class Named:
                def __set_name__(self, owner, name):
                    os.kill(os.getpid(), {int(number)})
                    for _ in range(1000):
                        pass
            type("Made", (), {{"named": Named()}})
"""
    code = _AT.replace("MODULE", repr("orchestrator.cli.experiment")).replace(
        "            os.kill(os.getpid(), signal.SIGINT)\n", made
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--data", "/nowhere"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
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
