"""A module whose consumer takes nothing any more, though it is idle and reports as ever."""

import os
import signal

import psutil

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

# What an agent is made to do by a signal: to believe that it has its hands full, or to end its loop by a fault.
_FAULTS = """
import signal, sys
if "orchestrator_modules.agent.main" in sys.orig_argv:
    kept = []
    def full(*_):
        from celery.worker import state
        kept.extend(type("Request", (), {"id": "none"})() for _ in range(2))
        state.reserved_requests.update(kept)
    def fault(*_):
        raise RuntimeError("Set changed size during iteration")
    signal.signal(signal.SIGRTMIN + 1, full)
    signal.signal(signal.SIGRTMIN + 2, fault)
"""


def test_a_module_that_has_become_deaf_hears_again_and_says_so(modules, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(_FAULTS)
    faults = {"APP_REQUIREMENTS": signal.SIGRTMIN + 1, "HW_CONSTRAINTS": signal.SIGRTMIN + 2}
    for script in modules.scripts:
        if script.kind in faults and script.process.poll() is None:
            script.end()
    deaf = {kind: modules.started(kind, "deaf", PYTHONPATH=str(tmp_path)) for kind in faults}
    try:
        assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED
        before = {kind: agent_of(script) for kind, script in deaf.items()}
        for kind, number in faults.items():
            os.kill(before[kind].pid, number)
        task = modules.submit()
        assert modules.ended(task).state == pb.STAGE_SUCCEEDED
        for kind, script in deaf.items():
            ((_, _, name, pid, _),) = modules.calls(kind, task)
            assert (name, int(pid)) == ("deaf", script.pid), "its script's process went on"
            assert "agent.deaf" in script.said()
            assert agent_of(script) != before[kind]
    finally:
        for kind, script in deaf.items():
            assert script.end() == 0
            modules.started(kind)


def agent_of(script) -> psutil.Process:
    def agents():
        children = psutil.Process(script.pid).children()
        return [each for each in children if "orchestrator_modules.agent.main" in each.cmdline()]

    wait_until(agents, 10)
    return agents()[0]
