"""What is kept, listed and deleted, and who sees it (sections 1.2, 1.6 and 5 of the contract)."""

import json
import math
from datetime import timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.core.errors import (
    BadRequestError,
    ConflictError,
    IncompatibleStatusError,
    InvalidAssetError,
    NotFoundError,
    PermissionDeniedError,
)
from orchestrator.core.kinds import MODULE_STATUS
from orchestrator.problems import commands, configuration, deletion, deployments, graph, iterations, listing, outputs
from orchestrator.problems.errors import NumbersUsedUpError, StateError
from orchestrator.problems.sweeps import old_problems
from tests.integration.problems.given import shown, to_task
from tests.kit.deployment import APP, CARBON, CONSTRAINTS, MODEL, RESOURCES, Deployment, Module, task
from tests.kit.member import after


def test_lists(deployment: Deployment):
    first = deployment.submit(problem_short_description="a").task_id
    deployment.submit(problem_short_description="b")
    deployment.iterate(first, problem_short_description="a again")
    deployment.submit(start=False)
    found, is_more = deployment.ask(listing.problems, 2)
    assert [(each.problem_id, each.iteration_count) for each in found] == [(3, 1), (2, 1)]
    assert is_more
    (last,), is_more = deployment.ask(listing.problems, 5, 2)
    assert not is_more
    assert (last.problem_short_description, last.iteration_count, last.last_iteration) == ("a again", 2, 2)
    assert deployment.ask(listing.problem, 1) == last
    assert [each.task_id.iteration_id for each in deployment.ask(listing.iterations, 1)] == [1, 2]
    assert deployment.ask(listing.task_ids) == [task(1, 1), task(1, 2), task(2, 1)]
    assert deployment.ask(iterations.latest) == task(1, 2)
    for problem in (0, 9, 2**40):
        with pytest.raises(NotFoundError):
            deployment.ask(listing.problem, problem)


def test_a_page_has_few_problems_where_each_is_large(deployment: Deployment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "PAGE_BYTES", 50_000)
    for description in ("small", "x" * 30_000, "y" * 60_000, "small", "small"):
        deployment.submit(problem_short_description=description, start=False)
    pages, before, is_more = [], None, True
    while is_more:
        found, is_more = deployment.ask(listing.problems, 500, before)
        before = found[-1].problem_id
        pages.append([each.problem_id for each in found])
    # The one that makes a page too large ends it.
    assert pages == [[5, 4, 3], [2, 1]]
    deployment.iterate(task(3, 1), start=False)
    assert not any(each.HasField("user_input") for each in deployment.ask(listing.iterations, 3))


def test_what_is_deleted_keeps_its_number(deployment: Deployment):
    modules = deployment.modules()
    first = deployment.submit().task_id
    with pytest.raises(StateError, match="has not ended"):
        deployment.ask(deletion.iteration, first)
    deployment.finish(modules)
    second = deployment.iterate(first).task_id
    with pytest.raises(StateError, match="has not ended"):
        deployment.ask(deletion.problem, 1)
    deployment.finish(modules)
    deployment.ask(deletion.iteration, second)
    assert deployment.iterate(first).task_id == task(1, 3)
    deployment.finish(modules)
    deployment.ask(deletion.problem, 1)
    for table in ("problems", "iterations", "stages", "stage_outputs"):
        assert deployment.rows(f"SELECT FROM {table}") == []
    assert deployment.submit().task_id == task(2, 1)
    with pytest.raises(NotFoundError):
        deployment.ask(deletion.problem, 1)


def test_what_is_prepared_has_not_ended_and_can_be_deleted_when_it_was_stopped(deployment: Deployment):
    prepared = deployment.submit(start=False).task_id
    for delete, what in ((deletion.iteration, prepared), (deletion.problem, 1)):
        with pytest.raises(StateError, match="stop it"):
            deployment.ask(delete, what)
    record = to_task(deployment, pb.STOP_TASK, prepared)
    assert shown(deployment, record)[0] == "APPLIED"
    assert deployment.state(prepared) == "STOPPED"
    deployment.ask(deletion.iteration, prepared)
    assert deployment.rows("SELECT FROM iterations") == []


def test_retention(deployment: Deployment):
    modules = deployment.modules()
    deployment.submit()
    deployment.finish(modules)
    running = deployment.submit().task_id
    assert old_problems.forget(deployment.database, after(50), 10, age=timedelta(seconds=100)) == 0
    assert old_problems.forget(deployment.database, after(150), 10, age=timedelta(seconds=100)) == 1
    assert deployment.ask(listing.task_ids) == [running]


def test_modules_that_went_long_ago_are_forgotten(deployment: Deployment):
    for name in ("gone", "stopped"):
        module = Module(deployment, APP, name)
        module.phase = pb.PHASE_ENDED
        module.report()
    Module(deployment, APP, "there")
    deployment.change("UPDATE modules SET stopped = true WHERE name = 'stopped'")
    week = timedelta(days=7).total_seconds()
    assert old_problems.forget(deployment.database, after(week - 60), 10, age=None) == 0
    assert old_problems.forget(deployment.database, after(week + 60), 10, age=None) == 1
    assert [each.name for each in deployment.kinds()[APP].replicas] == ["stopped", "there"]


def test_rows_and_events_agree(deployment: Deployment):
    modules = deployment.modules()
    done, again, stopped = (deployment.submit({"num_outputs": 1}).task_id for _ in range(3))
    claimed = modules[CONSTRAINTS].claim(deployment.due(CONSTRAINTS)[0])
    modules[CONSTRAINTS].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "no")
    for command, task_id in ((pb.STOP_TASK, stopped), (pb.RESET_TASK, again), (pb.PREEMPT_TASK, again)):
        deployment.ask(commands.give, pb.Command(cmd_task=command, task_id=task_id))
    # What calls workers up is for no task.
    deployment.ask(configuration.ask, APP, "modality")
    deployment.ask(commands.give, pb.Command(cmd_node=pb.START_NODE, target_node="APP_REQUIREMENTS"))
    deployment.finish(modules)
    assert [deployment.state(each) for each in (done, again, stopped)] == ["ERROR", "SUCCEEDED", "STOPPED"]
    found = [str(each) for each in stored.check(deployment.database, deployment.channel, timedelta(days=7))]
    assert found == []


def test_numbers_that_clients_cannot_hold(deployment: Deployment):
    deployment.submit()
    deployment.change("UPDATE deployments SET last_problem = 2147483646")
    assert deployment.submit().task_id == task(2147483647, 1)
    with pytest.raises(NumbersUsedUpError, match="2147483648"):
        deployment.submit()
    deployment.change("UPDATE problems SET last_iteration = 2147483647")
    with pytest.raises(NumbersUsedUpError):
        deployment.iterate(task(1, 1))


def test_previous_iterations(deployment: Deployment):
    deployment.submit({"goal": "a"}, modality="nlp", inputs=["x"])
    deployment.submit()
    assert deployment.submit({"previous_problem_id": 1, "goal": "b"}, previous_iteration=1).task_id == task(1, 2)
    last = deployment.submit({"previous_problem_id": 1}, previous_iteration=-1, inputs=[])
    assert (last.task_id, last.user_input.previous_iteration) == (task(1, 3), 2)
    assert (last.user_input.modality, list(last.user_input.inputs)) == ("nlp", [])
    assert json.loads(last.user_input.extra_data)["goal"] == ""
    for extra, previous, error in (
        ({"previous_problem_id": 9}, 1, NotFoundError),
        ({"previous_problem_id": 1}, 9, NotFoundError),
        ({"previous_problem_id": 9}, -1, NotFoundError),
        ({}, 1, NotFoundError),
        ({}, -2, BadRequestError),
    ):
        with pytest.raises(error):
            deployment.submit(extra, previous_iteration=previous)
    with pytest.raises(NotFoundError):
        deployment.iterate(task(0, 0))
    assert deployment.iterate(task(1, 1)).task_id == task(1, 4)


@pytest.mark.parametrize("extra", [{"num_outputs": 0}, {"num_outputs": "2"}, {"num_outputs": True}, {"time_limit": 0}])
def test_values_that_cannot_be(deployment: Deployment, extra: dict):
    with pytest.raises(BadRequestError):
        deployment.submit(extra)
    with pytest.raises(BadRequestError):
        deployment.submit(priority=101)
    assert deployment.ask(listing.problems, 10) == ([], False)


def test_no_number_and_no_text(deployment: Deployment):
    modules = deployment.modules()
    submitted = deployment.submit(desired_carbon_footprint=math.nan)
    assert math.isnan(deployment.get(submitted.task_id).user_input.desired_carbon_footprint)
    modules[APP].run(pb.AppRequirements(extra_data=b"\xff\x00{"))
    assert deployment.output(submitted.task_id, APP).extra_data == b"\xff\x00{"
    modules[CONSTRAINTS].run()
    modules[4].run()
    modules[MODEL].run(pb.MLModel(model="a\0b", target_latency=math.inf))
    modules[RESOURCES].run(pb.HWResource(latency=math.nan))
    assert math.isnan(deployment.output(submitted.task_id, RESOURCES).latency)
    assert deployment.output(submitted.task_id, MODEL).model == "a\0b"
    assert deployment.ask(outputs.raw_model, submitted.task_id) == b""


def test_deployments_side_by_side(deployment: Deployment):
    other = Deployment(deployment.database, "domain-1")
    assert deployment.submit().task_id == other.submit().task_id == task(1, 1)
    module = Module(other, APP)
    assert deployment.kinds()[APP].replicas == []
    assert module.registered.queue == "module.domain-1.app_requirements"
    with pytest.raises(Exception, match="no module of domain-0"):
        module.claim(deployment.due(APP)[0])
    stranger = Deployment(deployment.database, "domain-0", "org-2")
    with pytest.raises(PermissionDeniedError, match="another organization's"):
        stranger.submit()
    with pytest.raises(PermissionDeniedError):
        Module(stranger, APP)
    assert deployment.call(deployments.reads, "module.domain-1.app_requirements")
    assert not stranger.call(deployments.reads, "module.domain-1.app_requirements")
    assert not deployment.call(deployments.reads, "module.nobody.ml_model")
    for name in ("", "a b", "a/b", "a" * 41, "-a"):
        with pytest.raises(BadRequestError):
            Deployment(deployment.database, name).submit()


def test_who_may_register(deployment: Deployment):
    module = Module(deployment, APP, "a")
    with pytest.raises(ConflictError, match="SUSTAINML_NODE_NAME"):
        Module(deployment, APP, "a")
    module.register()
    assert module.report().accepting
    Module(deployment, MODEL, "a")
    deployment.silence("a")
    successor = Module(deployment, APP, "a")
    with pytest.raises(NotFoundError, match="register again"):
        module.report()
    successor.phase = pb.PHASE_ENDED
    successor.report()
    Module(deployment, APP, "a")
    for kind, name in ((6, "a"), (7, "a"), (8, "a"), (9, "a"), (APP, "a/b"), (APP, ""), (APP, "x" * 41)):
        with pytest.raises(InvalidAssetError):
            Module(deployment, kind, name or "\0")


def test_a_module_takes_nothing_before_it_has_said_that_it_spins(deployment: Deployment):
    deployment.submit()
    module = Module(deployment, APP)
    assert not module.register().accepting
    (key,) = deployment.due(APP)
    with pytest.raises(IncompatibleStatusError, match="spins"):
        module.claim(key)
    assert module.report().accepting
    module.run()


def test_a_module_that_starts_again_runs_and_begins_nothing_anew(deployment: Deployment):
    modules = deployment.modules()
    first = deployment.submit({"num_outputs": 2}).task_id
    for kind in graph.in_order()[:-1]:
        modules[kind].run()
    carbon = modules[CARBON].take()
    output = pb.CO2Footprint(extra_data=json.dumps({"num_outputs": 2, "model_restrains": []}).encode())
    modules[CARBON].complete(carbon.attempt, output)
    deployment.finish(modules)
    before = [deployment.get(each) for each in deployment.ask(listing.task_ids)]
    assert [each.task_id for each in before] == [first, task(1, 2)]
    for kind in graph.KINDS:
        modules[kind].phase = pb.PHASE_ENDED
        modules[kind].report()
        successor = Module(deployment, kind)
        successor.register()
        assert (successor.report().stops, deployment.due(kind)) == ([], [])
    again = modules[CARBON].complete(carbon.attempt, output)
    assert not again.HasField("error")
    assert [deployment.get(each) for each in deployment.ask(listing.task_ids)] == before


def test_a_successor_takes_what_its_predecessor_ran(deployment: Deployment):
    module = Module(deployment, APP, "a")
    deployment.submit()
    claimed = module.take()
    deployment.silence("a")
    successor = Module(deployment, APP, "a")
    again = successor.take()
    assert claimed is not None
    assert again is not None
    assert again.attempt.number == 2
    successor.complete(again.attempt)


def test_states_of_a_module_in_order(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.submit()
    module.run()
    module.phase = pb.PHASE_ENDED
    module.report()
    told = [(event.before, event.state) for event in deployment.events(MODULE_STATUS, pb.ModuleStatusEvent)]
    assert told == [
        (pb.MODULE_INACTIVE, pb.MODULE_INITIALIZING),
        (pb.MODULE_INITIALIZING, pb.MODULE_IDLE),
        (pb.MODULE_IDLE, pb.MODULE_RUNNING),
        (pb.MODULE_RUNNING, pb.MODULE_IDLE),
        (pb.MODULE_IDLE, pb.MODULE_INACTIVE),
    ]


def test_two_attempts_at_once_and_set_aside(deployment: Deployment):
    module, other = Module(deployment, APP, "one"), Module(deployment, APP, "other")
    for _ in range(5):
        deployment.submit()
    claims = [module.take(), module.take()]
    first, second = claims
    assert first is not None
    assert second is not None
    module.fail(first.attempt, pb.STAGE_ERROR_EXCEPTION, "a")
    assert deployment.kinds()[APP].replicas[0].state == pb.MODULE_RUNNING
    module.fail(second.attempt, pb.STAGE_ERROR_EXCEPTION, "b")
    assert deployment.kinds()[APP].replicas[0].state == pb.MODULE_ERROR
    third = module.take()
    assert third is not None
    module.fail(third.attempt, pb.STAGE_ERROR_EXCEPTION, "c")
    replica = deployment.kinds()[APP].replicas[0]
    assert (replica.state, replica.accepting, "set aside" in replica.reason) == (pb.MODULE_ERROR, False, True)
    with pytest.raises(Exception, match="set aside"):
        module.take()
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE
    other.run()
