"""Stages, as module scripts run them."""

from orchestrator import protos as pb
from orchestrator.problems import submitting
from tests.kit.modules import CLASSES


def test_twenty_tasks_run_each_callback_once(modules):
    before = {kind: len(modules.calls(kind)) for kind in CLASSES}
    tasks = [modules.submit(modality="nlp") for _ in range(20)]
    assert {modules.ended(task).state for task in tasks} == {pb.STAGE_SUCCEEDED}
    assert {kind: len(modules.calls(kind)) - before[kind] for kind in CLASSES} == dict.fromkeys(CLASSES, 20)
    for task in tasks:
        assert {call[0] for call in modules.calls(task=task)} == set(CLASSES)


def test_a_callback_that_raises_fails_its_stage_and_the_process_lives_on(modules):
    task = modules.submit(start=False)
    modules.say("HW_RESOURCES", "raise:no such device", task)
    modules.deployment.ask(submitting.start, task)
    failed = modules.ended(task)
    error = modules.stage(task, "HW_RESOURCES").error
    assert (failed.state, error.code) == (pb.STAGE_ERROR, pb.STAGE_ERROR_EXCEPTION)
    assert error.message == "ValueError: no such device"
    assert modules.stage(task, "CARBON_FOOTPRINT").state == pb.STAGE_SKIPPED
    log = next(script for script in modules.scripts if script.kind == "HW_RESOURCES").said()
    assert "Traceback (most recent call last)" in log
    again = modules.ended(modules.submit())
    assert again.state == pb.STAGE_SUCCEEDED
    (mine,) = modules.calls("HW_RESOURCES", task)
    assert mine[3] == modules.calls("HW_RESOURCES")[-1][3], "another process ran the next"


def test_even_an_exit_in_a_callback_is_its_stage_s_failure(modules):
    task = modules.submit(start=False)
    modules.say("APP_REQUIREMENTS", "exit:3", task)
    modules.deployment.ask(submitting.start, task)
    assert modules.ended(task).state == pb.STAGE_ERROR
    assert modules.stage(task, "APP_REQUIREMENTS").error.message == "SystemExit: 3"
    assert modules.state("APP_REQUIREMENTS") == "ERROR"
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED


def test_a_status_that_is_an_error_is_the_stage_s(modules):
    task = modules.submit(start=False)
    modules.say("ML_MODEL", "error:the hub is closed", task)
    modules.deployment.ask(submitting.start, task)
    modules.ended(task)
    error = modules.stage(task, "ML_MODEL").error
    assert (error.code, error.message) == (pb.STAGE_ERROR_NODE_ERROR, "the hub is closed")


def test_a_callback_may_fork(modules):
    task = modules.submit(start=False)
    modules.say("HW_RESOURCES", "fork", task)
    modules.deployment.ask(submitting.start, task)
    assert modules.ended(task).state == pb.STAGE_SUCCEEDED, modules.deployment.get(task)
    (said,) = (modules.folder / "children").iterdir()
    assert said.read_text() == f"{{{task.problem_id}, {task.iteration_id}}}"


def test_each_callback_has_the_inputs_of_its_kind(modules):
    task = modules.submit()
    modules.ended(task)
    counts = {call[0]: int(call[4]) for call in modules.calls(task=task)}
    assert counts == {
        "APP_REQUIREMENTS": 1,
        "CARBON_FOOTPRINT": 3,
        "HW_CONSTRAINTS": 1,
        "HW_RESOURCES": 3,
        "ML_MODEL_METADATA": 1,
        "ML_MODEL": 6,
    }
