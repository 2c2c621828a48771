"""Configuration requests (section 1.8 of the contract)."""

import json
from functools import partial

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, NotFoundError
from orchestrator.core.kinds import CONFIGURATION
from orchestrator.problems import configuration
from orchestrator.problems.errors import NoModuleError
from orchestrator.problems.sweeps import old_problems
from tests.kit.deployment import APP, MODEL, Deployment, Module
from tests.kit.member import after


def answer(module: Module, request: pb.ConfigurationRequest, text: str, **more) -> None:
    said = pb.ConfigurationAnswer(transaction_id=request.transaction_id, configuration=text, **more)
    module.report(answers=[said])


def test_a_question_and_its_answer(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.submit()
    running = module.take()
    id_ = deployment.ask(configuration.ask, APP, "modality")
    assert id_ > 0
    assert deployment.ask(configuration.answer_of, id_) is None
    (request,) = module.report().requests
    assert request == pb.ConfigurationRequest(node_id=APP, transaction_id=id_, configuration="modality")
    assert running is not None
    assert list(module.report().requests) == [request]
    answer(module, request, '{"a": 1}', success=False, err_code=1)
    found = deployment.ask(configuration.answer_of, id_)
    assert found == pb.ConfigurationAnswer(
        node_id=APP, transaction_id=id_, success=False, err_code=1, configuration='{"a": 1}', replica="m0"
    )
    (event,) = deployment.events(CONFIGURATION, pb.ConfigurationEvent)
    assert (event.transaction_id, event.answered) == (id_, True)
    assert list(module.report().requests) == []
    answer(module, request, "again")
    assert deployment.ask(configuration.answer_of, id_) == found


def test_requests_come_one_at_a_time_and_each_to_one(deployment: Deployment):
    one, two = Module(deployment, APP, "one"), Module(deployment, APP, "two")
    ids = [deployment.ask(configuration.ask, APP, str(number)) for number in range(3)]
    first, second = one.report().requests[0], two.report().requests[0]
    assert {first.transaction_id, second.transaction_id} == set(ids[:2])
    answer(two, first, "another's")
    assert deployment.ask(configuration.answer_of, first.transaction_id) is None
    answer(one, first, "mine")
    assert one.told.requests[0].transaction_id == ids[2]


def test_all_replicas_answer(deployment: Deployment):
    modules = [Module(deployment, APP, name) for name in ("one", "two")]
    id_ = deployment.ask(lambda *given: configuration.ask(*given, all=True), APP, "all")
    for number, module in enumerate(modules):
        found, complete = deployment.ask(configuration.answers, id_)
        assert (len(found), complete) == (number, False)
        (request,) = module.report().requests
        answer(module, request, module.name, success=True)
    found, complete = deployment.ask(configuration.answers, id_)
    assert ([each.replica for each in found], complete) == (["one", "two"], True)


def test_a_late_answer_is_dropped(deployment: Deployment):
    module = Module(deployment, APP)
    id_ = deployment.ask(configuration.ask, APP, "slow", 0.001)
    assert list(module.report().requests) == []
    deployment.change("UPDATE configuration_requests SET taken_by = 'm0'")
    answer(module, pb.ConfigurationRequest(transaction_id=id_), "late")
    assert deployment.ask(configuration.answers, id_) == ([], True)
    assert old_problems.forget(deployment.database, after(3700), 10, age=None) == 1
    with pytest.raises(NotFoundError):
        deployment.ask(configuration.answer_of, id_)


def test_another_answers_for_one_that_is_gone(deployment: Deployment):
    gone, other = Module(deployment, APP, "gone"), Module(deployment, APP, "other")
    id_ = deployment.ask(configuration.ask, APP, "anybody")
    assert gone.report().requests
    assert list(other.report().requests) == []
    deployment.silence("gone")
    deployment.sweep_silent()
    assert other.report().requests[0].transaction_id == id_


def test_nobody_waits_for_the_answer_of_a_module_that_was_the_last(deployment: Deployment):
    module, other = Module(deployment, APP, "gone"), Module(deployment, APP, "other")
    both = deployment.ask(partial(configuration.ask, all=True), APP, "all of you")
    taken, waiting = (deployment.ask(configuration.ask, APP, "anybody") for _ in range(2))
    module.report()
    module.phase = pb.PHASE_ENDED
    module.report()
    (gone,), complete = deployment.ask(configuration.answers, both)
    assert (gone.success, gone.err_code, gone.replica, complete) == (False, 1, "", False)
    assert "APP_REQUIREMENTS/gone has gone" in json.loads(gone.configuration)["error"]
    assert deployment.ask(configuration.answer_of, taken) is None
    deployment.silence("other")
    deployment.sweep_silent()
    for id_ in (both, taken, waiting):
        found, complete = deployment.ask(configuration.answers, id_)
        assert complete
        assert "no other is present" in json.loads(found[-1].configuration)["error"]
    assert list(other.report().requests) == []


def test_a_successor_answers_what_its_predecessor_was_asked(deployment: Deployment):
    gone = Module(deployment, APP, "m")
    id_ = deployment.ask(configuration.ask, APP, "anybody")
    assert gone.report().requests
    deployment.silence("m")
    successor = Module(deployment, APP, "m")
    assert [each.transaction_id for each in successor.told.requests] == [id_]


def test_what_cannot_be_asked(deployment: Deployment):
    Module(deployment, APP)
    with pytest.raises(NoModuleError, match="no ML_MODEL node"):
        deployment.ask(configuration.ask, MODEL, "goal")
    for kind, text, timeout in ((7, "a", 1.0), (APP, "a", 601.0), (APP, "a", 0.0), (APP, "a" * 2**21, 1.0)):
        with pytest.raises(BadRequestError):
            deployment.ask(configuration.ask, kind, text, timeout)
