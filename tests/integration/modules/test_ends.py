"""How a module's process ends, and what becomes of what it runs."""

import os
import signal
import time

import psutil

from orchestrator import protos as pb
from orchestrator.problems import submitting
from tests.kit.waiting import wait_until


def begun(modules, kind, what, name=None):
    """A task in whose stage a callback is at work; its call."""
    task = modules.submit(start=False)
    modules.say(kind, what, task)
    modules.deployment.ask(submitting.start, task)
    wait_until(lambda: modules.calls(kind, task), 30)
    return task


def test_replicas_share_what_waits_and_take_what_one_that_is_killed_has_begun(modules):
    second = modules.started("HW_CONSTRAINTS", "second")
    # Else the first may have done all before the second reads its queue.
    modules.say("HW_CONSTRAINTS", "until:second")
    tasks = [modules.submit() for _ in range(6)]
    for each in tasks:
        assert modules.ended(each).state == pb.STAGE_SUCCEEDED
        assert len(modules.calls("HW_CONSTRAINTS", each)) == 1
    assert {modules.calls("HW_CONSTRAINTS", each)[0][2] for each in tasks} == {"first", "second"}
    modules.silence()
    task = begun(modules, "HW_CONSTRAINTS", "once loop")
    ((_, _, name, pid, _),) = modules.calls("HW_CONSTRAINTS", task)
    os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED
    assert modules.stage(task, "HW_CONSTRAINTS").attempt == 2
    modules.await_state("HW_CONSTRAINTS", name, "INACTIVE", 20)
    assert time.monotonic() - killed < 20
    assert [call[2] for call in modules.calls("HW_CONSTRAINTS", task)] == [name, {"first": "second"}.get(name, "first")]
    if name == "first":
        modules.started("HW_CONSTRAINTS")
        second.end()
    else:
        assert second.process.wait(5) == -signal.SIGKILL


def test_sigint_releases_what_runs_and_ends_with_zero(modules):
    module = modules.started("APP_REQUIREMENTS", "leaving", SUSTAINML_DOMAIN_ID="0")
    for script in modules.scripts:
        if (script.kind, script.name, script.process.poll()) == ("APP_REQUIREMENTS", "first", None):
            assert script.end() == 0
    task = begun(modules, "APP_REQUIREMENTS", "once sleep:300")
    before = time.monotonic()
    module.process.send_signal(signal.SIGINT)
    wait_until(lambda: modules.stage(task, "APP_REQUIREMENTS").state == pb.STAGE_WAITING, 5)
    assert module.process.wait(10) == 0
    assert time.monotonic() - before < 10
    modules.started("APP_REQUIREMENTS")
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED
    # It was given back, and not lost: no attempt is counted against the module.
    assert modules.state("APP_REQUIREMENTS", "leaving") == "INACTIVE"


def test_an_agent_that_is_killed_is_started_again_and_nothing_is_lost(modules):
    task = begun(modules, "ML_MODEL_METADATA", "once sleep:3")
    ((*_, pid, _),) = modules.calls("ML_MODEL_METADATA", task)
    (agent,) = [
        each for each in psutil.Process(int(pid)).children() if "orchestrator_modules" in " ".join(each.cmdline())
    ]
    agent.kill()
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED
    assert len(modules.calls("ML_MODEL_METADATA", task)) == 1
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED


def test_a_module_without_an_orchestrator_ends_on_sigint(modules, tmp_path):
    module = modules.start("ML_MODEL", "alone", ORCHESTRATOR_DATA=str(tmp_path))
    wait_until(lambda: "orchestrator.not_found" in module.said(), 60)
    assert module.end() == 0


def test_a_module_that_has_waited_for_its_orchestrator_says_that_it_found_it(modules, tmp_path):
    module = modules.start("ML_MODEL", "early", ORCHESTRATOR_DATA=str(tmp_path))
    wait_until(lambda: "orchestrator.not_found" in module.said(), 60)
    (tmp_path / ".orchestrator").symlink_to(modules.federation.folder)
    wait_until(lambda: "orchestrator.found" in module.said(), 60)
    assert module.end() == 0
