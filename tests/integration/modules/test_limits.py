"""What a module does beyond limits, beside replicas, and without a server."""

import pytest

from orchestrator import protos as pb
from orchestrator.problems import submitting
from tests.integration.modules.test_ends import begun
from tests.kit.waiting import wait_until


def test_a_callback_beyond_its_hard_limit_is_stopped(modules):
    task = begun(modules, "CARBON_FOOTPRINT", "loop")
    assert modules.ended(task).state == pb.STAGE_ERROR
    error = modules.stage(task, "CARBON_FOOTPRINT").error
    assert error.code == pb.STAGE_ERROR_TIMEOUT
    assert "limit of 3 s" in error.message
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED


def test_a_result_waits_for_a_server_that_is_away(modules):
    task = begun(modules, "HW_RESOURCES", "once sleep:2")
    serve = modules.federation.service("serve")
    serve.stop()
    wait_until(lambda: modules.calls("HW_RESOURCES", task))
    serve.start()
    assert modules.ended(task, 90).state == pb.STAGE_SUCCEEDED
    assert len(modules.calls("HW_RESOURCES", task)) == 1
    for kind in ("HW_RESOURCES", "ML_MODEL"):
        modules.await_state(kind, "first", "IDLE")


def test_a_module_of_another_deployment_sees_nothing_of_this_one(modules):
    other = modules.start("HW_CONSTRAINTS", "elsewhere", SUSTAINML_DOMAIN_ID="7")
    before = len(modules.calls())
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED
    assert "elsewhere" not in {call[2] for call in modules.calls()[before:]}
    assert modules.state("HW_CONSTRAINTS", "elsewhere") == "INACTIVE"
    assert other.end() == 0


@pytest.mark.parametrize("wrong", [{"SUSTAINML_DOMAIN_ID": "x"}, {"SUSTAINML_NODE_NAME": "a/b"}])
def test_a_wrong_setting_is_said(modules, wrong):
    module = modules.start("HW_CONSTRAINTS", "wrong", **wrong)
    assert module.process.wait(20) == 0
    (variable,) = wrong
    assert f"ValueError: {variable} is" in module.said()


def test_output_that_is_data_and_says_error_is_handed_on(modules):
    task = modules.submit({"error": "nothing wrong"}, start=False)
    modules.say("APP_REQUIREMENTS", "secret", task)
    modules.deployment.ask(submitting.start, task)
    ended = modules.ended(task)
    assert ended.state == pb.STAGE_SUCCEEDED
    assert modules.stage(task, "APP_REQUIREMENTS").warning == "nothing wrong"
