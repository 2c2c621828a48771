"""Control commands to tasks, and the Stop button (sections 1.7 and 3.6 of the contract)."""

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.problems import cancelling
from orchestrator.problems.errors import StateError
from orchestrator.problems.sweeps import open_commands
from tests.integration.problems.given import shown, to_task
from tests.kit.deployment import APP, CARBON, CONSTRAINTS, METADATA, MODEL, RESOURCES, Deployment, Module, task
from tests.kit.member import after


def test_a_task_is_stopped(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit({"num_outputs": 3}).task_id
    claimed = module.take()
    assert claimed is not None
    record = to_task(deployment, pb.STOP_TASK, task_id)
    assert shown(deployment, record) == ("ACCEPTED", {"ORCHESTRATOR": "ACCEPTED"})
    assert deployment.state(task_id) == "STOPPED"
    assert deployment.states(task_id) == ["STOPPED"] * 6
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)
    module.report()
    assert module.stopped
    module.report()
    assert shown(deployment, record) == ("APPLIED", {"ORCHESTRATOR": "APPLIED"})
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE
    assert deployment.ask(cancelling.cancel, task_id).command_id == record.command_id
    assert to_task(deployment, pb.STOP_TASK, task_id).state == pb.COMMAND_APPLIED


def test_a_stop_whose_module_is_gone(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    record = to_task(deployment, pb.STOP_TASK, task_id)
    assert open_commands.settle(deployment.database, after(1), 10) == 0
    deployment.silence("m0")
    assert open_commands.settle(deployment.database, after(1), 10) == 1
    assert shown(deployment, record)[0] == "APPLIED"


def test_a_stop_that_its_module_never_acknowledges(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    record = to_task(deployment, pb.STOP_TASK, task_id)
    deployment.change("UPDATE modules SET heard_at = now() + interval '90 s'")
    assert open_commands.settle(deployment.database, after(70), 10) == 0
    assert open_commands.settle(deployment.database, after(81), 10) == 1
    state, shown_targets = shown(deployment, record)
    assert (state, "has not said" in shown_targets["ORCHESTRATOR"]) == ("FAILED", True)


def test_cancel(deployment: Deployment):
    assert deployment.ask(cancelling.cancel) is None
    modules = deployment.modules()
    done = deployment.submit().task_id
    deployment.finish(modules)
    assert deployment.ask(cancelling.cancel) is None
    assert deployment.ask(cancelling.cancel, done) is None
    assert deployment.ask(cancelling.cancel, task(9, 9)) is None
    older, newer = deployment.submit().task_id, deployment.submit().task_id
    record = deployment.ask(cancelling.cancel)
    assert (record.command.task_id, record.state) == (newer, pb.COMMAND_APPLIED)
    assert (deployment.state(newer), deployment.state(older)) == ("STOPPED", "WAITING")
    assert deployment.ask(cancelling.cancel, newer).command_id == record.command_id
    assert deployment.ask(cancelling.cancel).command.task_id == older
    assert deployment.ask(cancelling.cancel).command.task_id == newer


def test_a_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    deployment.finish(modules, ml_model=pb.MLModel(model="first"))
    record = to_task(deployment, pb.RESET_TASK, task_id)
    assert record.state == pb.COMMAND_APPLIED
    found = deployment.get(task_id)
    assert (found.run, found.state, found.HasField("ended_at")) == (2, pb.STAGE_WAITING, False)
    assert deployment.output(task_id, MODEL) is None
    deployment.finish(modules, ml_model=pb.MLModel(model="second"))
    assert deployment.output(task_id, MODEL).model == "second"
    assert deployment.state(task_id) == "SUCCEEDED"


def test_a_part_of_a_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    deployment.finish(modules, app_requirements=pb.AppRequirements(app_requirements=["kept"]))
    to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    assert {stage.kind: stage.run for stage in deployment.get(task_id).stages} == {
        APP: 1,
        CARBON: 2,
        CONSTRAINTS: 1,
        RESOURCES: 2,
        METADATA: 1,
        MODEL: 2,
    }
    claimed = modules[MODEL].take()
    assert claimed is not None
    assert modules[MODEL].inputs(claimed.attempt)[1].app_requirements == ["kept"]
    modules[MODEL].complete(claimed.attempt)
    deployment.finish(modules)
    assert deployment.state(task_id) == "SUCCEEDED"


def test_a_running_task_runs_again_below_what_still_runs(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    modules[APP].run()
    modules[CONSTRAINTS].run()
    metadata = modules[METADATA].take()
    assert metadata is not None
    to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    assert deployment.state(task_id) == "RUNNING"
    assert deployment.due(MODEL) == []
    modules[METADATA].complete(metadata.attempt)
    assert len(deployment.due(MODEL)) == 1
    running = modules[MODEL].take()
    assert running is not None
    to_task(deployment, pb.RESET_TASK, task_id)
    with pytest.raises(IncompatibleStatusError):
        modules[MODEL].complete(running.attempt)
    assert deployment.kinds()[MODEL].state == pb.MODULE_IDLE
    deployment.finish(modules)
    assert (deployment.state(task_id), deployment.get(task_id).run) == ("SUCCEEDED", 3)


def test_a_failed_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    claimed = modules[CONSTRAINTS].take()
    assert claimed is not None
    modules[CONSTRAINTS].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "no")
    with pytest.raises(StateError, match="reset HW_CONSTRAINTS"):
        to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    to_task(deployment, pb.RESET_TASK, task_id, "HW_CONSTRAINTS")
    deployment.finish(modules)
    found = deployment.get(task_id)
    assert (found.state, found.failed, found.HasField("error")) == (pb.STAGE_SUCCEEDED, False, False)


def test_what_was_terminated_never_runs_again(deployment: Deployment):
    task_id = deployment.submit().task_id
    to_task(deployment, pb.TERMINATE_TASK, task_id)
    assert (deployment.state(task_id), deployment.get(task_id).final) == ("STOPPED", True)
    with pytest.raises(StateError, match="TERMINATE_TASK"):
        to_task(deployment, pb.RESET_TASK, task_id)


@pytest.mark.parametrize(
    ("command", "seconds"), [(pb.STOP_TASK, 10), (pb.TERMINATE_TASK, 0)], ids=["stop", "terminate"]
)
def test_a_callback_is_given_a_grace_but_by_what_is_final(deployment: Deployment, command: int, seconds: int):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    to_task(deployment, command, task_id)
    (stop,) = module.report().stops
    assert stop.grace.ToTimedelta().total_seconds() == seconds


def test_others_go_first(deployment: Deployment):
    module = Module(deployment, APP, slots=1)
    first = deployment.submit(priority=5).task_id
    second, third = deployment.submit(priority=-3).task_id, deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    assert deployment.get(first).stages[APP].state == pb.STAGE_RUNNING
    early = deployment.rows("SELECT task_key FROM stages WHERE problem = 1 AND kind = 0")[0].task_key
    record = to_task(deployment, pb.PREEMPT_TASK, first)
    assert record.state == pb.COMMAND_APPLIED
    assert deployment.state(first) == "WAITING"
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)
    module.runs = []
    with pytest.raises(IncompatibleStatusError, match="others go first"):
        module.claim(early)
    order = []
    while claimed := module.take():
        work = pb.StageWork()
        claimed.work.Unpack(work)
        order.append(work.task_id)
        module.complete(claimed.attempt)
    assert order == [third, second, first]
