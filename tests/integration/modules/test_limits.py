"""What a module does beyond limits, beside replicas, and without a server."""

import pytest
from celery import Celery

from orchestrator import protos as pb
from orchestrator.broker import monitor
from orchestrator.core import pokes
from orchestrator.problems import submitting
from orchestrator.problems.modules import states
from tests.integration.modules.test_ends import begun
from tests.kit import deployment
from tests.kit.waiting import wait_until


def test_a_callback_beyond_its_hard_limit_is_stopped(modules):
    task = begun(modules, "CARBON_FOOTPRINT", "loop")
    assert modules.ended(task).state == pb.STAGE_ERROR
    error = modules.stage(task, "CARBON_FOOTPRINT").error
    assert error.code == pb.STAGE_ERROR_TIMEOUT
    assert "limit of 10 s" in error.message
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED


def test_a_model_of_many_parts_is_handed_on_and_one_that_is_too_large_is_refused(modules):
    fits, too_large = modules.submit(start=False), modules.submit(start=False)
    modules.say("ML_MODEL", "big:5000000", fits)
    modules.say("HW_RESOURCES", "size", fits)
    modules.say("ML_MODEL", "big:7000000", too_large)
    for task in (fits, too_large):
        modules.deployment.ask(submitting.start, task)
    assert modules.ended(fits).state == pb.STAGE_SUCCEEDED
    assert modules.deployment.output(fits, deployment.RESOURCES).hw_description == "5000000"
    modules.ended(too_large)
    error = modules.stage(too_large, "ML_MODEL").error
    assert error.code == pb.STAGE_ERROR_INVALID_OUTPUT
    assert "most of them raw_model; at most 6000000" in error.message


def test_modules_are_workers_that_flower_sees(modules):
    places = modules.federation.places
    queues = places.broker.queues
    accounts = [pokes.account_of(queue) for queue in queues]
    wanted = {f"{queue}@first" for queue in queues if "domain-0" in queue}
    # Not Flower's own app: it changes what Kombu makes of a URL in all of its process.
    with Celery("onlooker", set_as_current=False) as onlooker:
        onlooker.conf.update(monitor.settings(places.broker.flower, accounts))
        wait_until(lambda: {name for each in onlooker.control.ping(timeout=3) for name in each} >= wanted)


def test_a_result_waits_for_a_server_and_a_broker_that_are_away(modules):
    task = begun(modules, "HW_RESOURCES", "once sleep:2")
    for name in ("serve", "valkey"):
        modules.federation.service(name).stop()
    for name in ("valkey", "serve"):
        modules.federation.service(name).start()
    assert modules.ended(task, 90).state == pb.STAGE_SUCCEEDED
    assert len(modules.calls("HW_RESOURCES", task)) == 1
    assert modules.ended(modules.submit(), 90).state == pb.STAGE_SUCCEEDED


def test_a_module_of_another_deployment_sees_nothing_of_this_one(modules):
    other = modules.start("HW_CONSTRAINTS", "elsewhere", SUSTAINML_DOMAIN_ID="7")

    def there():
        kinds = modules.deployment.call(states, "domain-7")
        return [each.name for kind in kinds for each in kind.replicas if each.state == pb.MODULE_IDLE]

    assert wait_until(there, 30) == ["elsewhere"]
    before = len(modules.calls())
    assert modules.ended(modules.submit()).state == pb.STAGE_SUCCEEDED
    assert "elsewhere" not in {call[2] for call in modules.calls()[before:]}
    assert modules.state("HW_CONSTRAINTS", "elsewhere") == "INACTIVE"
    assert other.end() == 0


@pytest.mark.parametrize("wrong", [{"SUSTAINML_DOMAIN_ID": "x"}, {"SUSTAINML_NODE_NAME": "a/b"}])
def test_a_wrong_setting_is_said(modules, wrong):
    module = modules.start("HW_CONSTRAINTS", "wrong", **wrong)
    assert module.process.wait(60) == 0
    (variable,) = wrong
    assert f"ValueError: {variable} is" in module.said()


def test_output_that_is_data_and_says_error_is_handed_on(modules):
    task = modules.submit({"error": "nothing wrong"}, start=False)
    modules.say("APP_REQUIREMENTS", "secret", task)
    modules.deployment.ask(submitting.start, task)
    ended = modules.ended(task)
    assert ended.state == pb.STAGE_SUCCEEDED
    assert modules.stage(task, "APP_REQUIREMENTS").warning == "nothing wrong"
