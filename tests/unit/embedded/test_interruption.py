"""What a process does that is told to end."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, signal
from orchestrator.embedded.interruption import ENDING, exit_on

exit_on(*ENDING)

def hear():
    # They wait until all have come.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    for each in ENDING:
        os.kill(os.getpid(), each)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

def clean_up():
    print("cleaned up", flush=True)

class Held:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        {again}
        clean_up()

def main():
    with Held():
        try:
            {first}
        finally:
            clean_up()

main()
"""
_ALL, _ONE, _NONE = "hear()", "os.kill(os.getpid(), signal.SIGTERM)", "pass"


@pytest.mark.parametrize(("first", "again"), [(_ALL, _NONE), (_ONE, _ONE), (_ONE, _ALL)])
def test_what_comes_besides_breaks_off_no_clean_up(first: str, again: str):
    program = [sys.executable, "-c", _PROGRAM.format(first=first, again=again)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up\ncleaned up\n", "")
