"""A module whose variables are wrong says so in one line, takes nothing, and ends as any other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.waiting import wait_until

_SCRIPT = """
import signal, threading, time
from sustainml_py.nodes.HardwareConstraintsNode import HardwareConstraintsNode
running = True

def on_sigint(number, frame):
    HardwareConstraintsNode.terminate()
    global running; running = False

def run():
    HardwareConstraintsNode(callback=lambda *_: None, service_callback=lambda *_: None).spin()

signal.signal(signal.SIGINT, on_sigint)
runner = threading.Thread(target=run); runner.start()
while running: time.sleep(0.1)
runner.join()
"""


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("ORCHESTRATOR_BROKER_URL=redis:nonsense", "ORCHESTRATOR_BROKER_URL is wrong: expected the URL of the broker"),
        ("ORCHESTRATOR_LOG_LEVEL=loud", "ORCHESTRATOR_LOG_LEVEL is wrong: expected DEBUG"),
        ("ORCHESTRATOR_LOG_LEVEL=warn", "no federation runs in"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(variable: str, said: str, tmp_path: Path) -> None:
    name, _, value = variable.partition("=")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], cwd=tmp_path, env={**ours, name: value}, stdout=output, stderr=output
        ) as script,
    ):
        try:
            wait_until(lambda: said in log.read_text(), 30)
            script.send_signal(signal.SIGINT)
            assert script.wait(10) == 0
        finally:
            script.kill()
    (line,) = log.read_text().splitlines()
    assert said in line
