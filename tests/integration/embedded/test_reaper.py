"""What a killed supervisor leaves behind is ended; what has ended in good order is left alone."""

import signal
import subprocess
import sys

import psutil

from orchestrator.embedded.reaper import Reaper
from tests.kit.processes import lives

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
SUPERVISOR = """
import subprocess, sys, time
from orchestrator.embedded.reaper import Reaper
reaper = Reaper()
reaper.start()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
reaper.watch(child.pid, float(sys.argv[2]))
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_that_ignores_the_end_of_its_supervisor_is_killed(gone):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, STUBBORN, "0.2"], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        try:
            assert supervisor.stdout is not None
            child = psutil.Process(int(supervisor.stdout.readline()))
            family = psutil.Process(supervisor.pid).children(recursive=True)
        finally:
            supervisor.send_signal(signal.SIGKILL)
    assert child in family
    gone(family)


def test_a_reaper_that_is_stopped_harms_nobody():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            reaper = Reaper()
            reaper.start()
            reaper.watch(child.pid, 0.0)
            reaper.stop()
            assert lives(psutil.Process(child.pid))
        finally:
            child.kill()
