"""Commands to modules and to tasks, as modules and their callbacks obey them."""

import signal
import time

import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.problems import commands, configuration
from tests.integration.modules.test_ends import begun
from tests.kit.waiting import wait_until


def give(modules, timeout=30, **command):
    """Give a command, and return what became of it."""
    record, _ = modules.deployment.ask(commands.give, pb.Command(**command), None)
    id_ = record.command_id

    def over():
        found = modules.deployment.ask(commands.get, id_)
        return found if found.state != pb.COMMAND_ACCEPTED else None

    return wait_until(over, timeout, str(command))


@pytest.mark.parametrize("what", ["poll", "loop", "child"])
def test_a_callback_that_is_stopped_ends_in_its_process(modules, what):
    task = begun(modules, "HW_CONSTRAINTS", what)
    ((*_, pid, _),) = modules.calls("HW_CONSTRAINTS", task)
    if what == "child":
        child = int(wait_until(lambda: (modules.folder / "child").exists() and (modules.folder / "child").read_text()))
    assert give(modules, cmd_task=pb.STOP_TASK, task_id=task).state == pb.COMMAND_APPLIED
    assert modules.deployment.get(task).state == pb.STAGE_STOPPED
    if what == "child":
        wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")
        (modules.folder / "child").unlink()
    following = modules.submit()
    assert modules.ended(following).state == pb.STAGE_SUCCEEDED
    assert modules.calls("HW_CONSTRAINTS", following)[0][3] == pid


def test_a_process_with_a_callback_that_hangs_is_replaced_in_place(modules):
    task = begun(modules, "HW_CONSTRAINTS", "hang")
    other = begun(modules, "HW_CONSTRAINTS", "once sleep:60")
    ((*_, pid, _),) = modules.calls("HW_CONSTRAINTS", task)
    began = psutil.Process(int(pid)).cmdline()
    assert give(modules, cmd_task=pb.STOP_TASK, task_id=task, timeout=40).state == pb.COMMAND_APPLIED
    assert modules.ended(other).state == pb.STAGE_SUCCEEDED
    # The other attempt waited again, uncounted as a failure; the program is another, in the same process.
    assert len(modules.calls("HW_CONSTRAINTS", other)) == 2
    assert psutil.Process(int(pid)).cmdline() == began
    # It may have done a stage before its report that it spins is there.
    modules.await_state("HW_CONSTRAINTS", "first", "IDLE")


def test_a_module_is_reset_in_place(modules):
    task = begun(modules, "APP_REQUIREMENTS", "once sleep:60")
    assert give(modules, cmd_node=pb.RESET_NODE, target_node="APP_REQUIREMENTS/first").state == pb.COMMAND_APPLIED
    done = modules.ended(task)
    assert done.state == pb.STAGE_SUCCEEDED
    calls = modules.calls("APP_REQUIREMENTS", task)
    assert len(calls) == 2
    assert calls[0][3] == calls[1][3], "it is another process"
    modules.await_state("APP_REQUIREMENTS", "first", "IDLE")


def test_a_module_is_stopped_when_it_has_finished_and_started_again(modules):
    task = begun(modules, "ML_MODEL_METADATA", "once sleep:2")
    assert give(modules, cmd_node=pb.STOP_NODE, target_node="ML_MODEL_METADATA").state == pb.COMMAND_APPLIED
    assert modules.stage(task, "ML_MODEL_METADATA").state == pb.STAGE_SUCCEEDED
    assert modules.state("ML_MODEL_METADATA") == "INACTIVE"
    assert modules.replica("ML_MODEL_METADATA", "first").present
    waits = modules.submit()
    wait_until(lambda: modules.stage(waits, "HW_CONSTRAINTS").state == pb.STAGE_SUCCEEDED, 60)
    assert modules.stage(waits, "ML_MODEL_METADATA").state == pb.STAGE_WAITING
    assert give(modules, cmd_node=pb.START_NODE, target_node="ML_MODEL_METADATA").state == pb.COMMAND_APPLIED
    assert modules.ended(waits).state == pb.STAGE_SUCCEEDED
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED
    assert len(modules.calls("ML_MODEL_METADATA", waits)) == 1


def test_a_module_is_terminated_when_it_has_finished(modules):
    module = modules.started("ML_MODEL", "doomed")
    assert give(modules, cmd_node=pb.TERMINATE_NODE, target_node="ML_MODEL/doomed").state == pb.COMMAND_APPLIED
    assert module.process.wait(60) == 0
    assert modules.state("ML_MODEL", "doomed") == "INACTIVE"
    modules.await_state("ML_MODEL", "first", "IDLE")


def test_a_question_is_answered_beside_a_task(modules):
    task = begun(modules, "HW_RESOURCES", "once sleep:4")
    number = modules.deployment.ask(configuration.ask, 3, "hardwares", 30.0)
    began = time.monotonic()
    answer = wait_until(lambda: modules.deployment.ask(configuration.answer_of, number), 60)
    assert time.monotonic() - began < 20
    assert (answer.success, answer.err_code, answer.node_id, answer.transaction_id) == (True, 0, 3, number)
    assert '"asked": "hardwares"' in answer.configuration
    assert modules.stage(task, "HW_RESOURCES").state in (pb.STAGE_RUNNING, pb.STAGE_SUCCEEDED)
    number = modules.deployment.ask(configuration.ask, 3, "raise", 30.0)
    answer = wait_until(lambda: modules.deployment.ask(configuration.answer_of, number), 60)
    assert (answer.success, answer.err_code) == (False, 1)
    assert answer.configuration == '{"error": "ValueError: no such thing"}'
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED


def test_a_question_that_kills_its_module_is_answered_at_once(modules):
    for script in modules.scripts:
        if script.kind == "CARBON_FOOTPRINT" and script.process.poll() is None:
            script.end()
    module = modules.started("CARBON_FOOTPRINT", "fragile")
    try:
        number = modules.deployment.ask(configuration.ask, 1, "kill", 600.0)
        answer = wait_until(lambda: modules.deployment.ask(configuration.answer_of, number), 60)
        assert module.process.wait(15) == -signal.SIGKILL
        assert (answer.success, answer.err_code, answer.replica) == (False, 1, "")
        assert "CARBON_FOOTPRINT/fragile has gone" in answer.configuration
    finally:
        modules.started("CARBON_FOOTPRINT")
