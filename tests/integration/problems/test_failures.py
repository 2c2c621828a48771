"""What goes wrong in a stage, and what follows of it (section 1.5 of the contract)."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.kinds import ITERATION_STATUS, STAGE_SLOW, STAGE_STATUS
from orchestrator.problems import graph, outputs
from orchestrator.problems.sweeps import late_iterations, old_problems, silent_modules, slow_stages
from tests.kit.deployment import APP, CARBON, CONSTRAINTS, METADATA, MODEL, RESOURCES, Deployment, Module, task
from tests.kit.member import after


def test_below_a_failed_stage_all_is_skipped_and_the_rest_ends(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    constraints, metadata = modules[CONSTRAINTS].take(), modules[METADATA].take()
    assert constraints is not None
    assert metadata is not None
    written = pb.MLModelMetadata(keywords=["half"])
    modules[METADATA].fail(metadata.attempt, pb.STAGE_ERROR_NODE_ERROR, "no idea", written)
    found = {stage.kind: stage for stage in deployment.get(task_id).stages}
    assert {kind: stage.state for kind, stage in found.items()} == {
        APP: pb.STAGE_WAITING,
        CARBON: pb.STAGE_SKIPPED,
        CONSTRAINTS: pb.STAGE_RUNNING,
        RESOURCES: pb.STAGE_SKIPPED,
        METADATA: pb.STAGE_ERROR,
        MODEL: pb.STAGE_SKIPPED,
    }
    assert found[METADATA].error == pb.StageError(code=pb.STAGE_ERROR_NODE_ERROR, message="no idea")
    iteration = deployment.get(task_id)
    assert (iteration.state, iteration.failed_stage, iteration.error.message) == (pb.STAGE_ERROR, METADATA, "no idea")
    assert not iteration.HasField("ended_at")
    assert deployment.output(task_id, METADATA) is None
    kept = deployment.ask(outputs.diagnosis, task_id, METADATA)
    assert kept.keywords == ["half"]
    modules[CONSTRAINTS].complete(constraints.attempt)
    modules[APP].run()
    assert deployment.get(task_id).HasField("ended_at")
    assert deployment.state(task_id) == "ERROR"
    told = deployment.events(ITERATION_STATUS, pb.IterationStatusEvent)
    assert [event.state for event in told] == [pb.STAGE_WAITING, pb.STAGE_RUNNING, pb.STAGE_ERROR]


def test_the_text_of_a_node_error(deployment: Deployment):
    module = Module(deployment, APP)
    for output, expected in (
        (pb.AppRequirements(extra_data=b'{"error": "in the output"}'), "in the output"),
        (None, "the module reported an error"),
    ):
        task_id = deployment.submit().task_id
        claimed = module.take()
        assert claimed is not None
        module.fail(claimed.attempt, pb.STAGE_ERROR_NODE_ERROR, "", output)
        assert deployment.get(task_id).error.message == expected


def test_a_callback_that_raises_and_lives_on(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    module.fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "ValueError: no")
    assert deployment.get(task_id).error == pb.StageError(code=pb.STAGE_ERROR_EXCEPTION, message="ValueError: no")
    assert deployment.kinds()[APP].state == pb.MODULE_ERROR
    deployment.submit()
    claimed = module.take()
    assert claimed is not None
    assert deployment.kinds()[APP].state == pb.MODULE_RUNNING
    module.complete(claimed.attempt)
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE


def test_a_lost_module_is_replaced_three_times(deployment: Deployment):
    task_id = deployment.submit().task_id
    names = iter("abc")
    for number in (1, 2, 3):
        module = Module(deployment, APP, next(names))
        key = deployment.rows("SELECT task_key FROM stages WHERE kind = 0")[0].task_key
        deployment.change("UPDATE task_states SET due_at = NULL WHERE key = :key", key=key)
        claimed = module.claim(key)
        assert claimed.attempt.number == number
        module.lose(claimed.attempt)
        state = deployment.get(task_id).stages[APP].state
        assert state == (pb.STAGE_WAITING if number < 3 else pb.STAGE_ERROR)
    assert deployment.get(task_id).error.code == pb.STAGE_ERROR_LOST


def test_a_silent_module_loses_what_it_ran(deployment: Deployment):
    silent, other = Module(deployment, APP, "silent"), Module(deployment, APP, "other")
    task_id = deployment.submit().task_id
    claimed = silent.take()
    assert claimed is not None
    deployment.silence("silent")
    assert silent_modules.end(deployment.database, after(0), 10) == 0
    assert deployment.sweep_silent() == 1
    replicas = {each.name: each for each in deployment.kinds()[APP].replicas}
    assert (replicas["silent"].state, replicas["silent"].present) == (pb.MODULE_INACTIVE, False)
    assert deployment.get(task_id).stages[APP].state == pb.STAGE_WAITING
    with pytest.raises(IncompatibleStatusError):
        silent.complete(claimed.attempt)
    again = other.take()
    assert again is not None
    assert again.attempt.number == 2
    other.complete(again.attempt)
    silent.runs = [claimed.attempt]
    assert silent.report().stops[0].number == 1
    assert deployment.kinds()[APP].replicas[1].state == pb.MODULE_IDLE


def test_nobody_is_gone_while_the_orchestrator_was_away(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.silence("m0")
    for since, at in (("1 s", "0 s"), ("1 h", "11 s")):
        deployment.change("DELETE FROM service")
        deployment.change(
            f"INSERT INTO service (id, served_since, served_at) VALUES (1, now() - interval '{since}', "
            f"now() - interval '{at}')"
        )
        assert deployment.sweep_silent() == 0
    deployment.change("UPDATE service SET served_at = now()")
    assert silent_modules.end(deployment.database, after(0), 10) == 0
    module.report()
    assert silent_modules.end(deployment.database, after(7), 10) == 0
    deployment.silence("m0")
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: deployment.sweep_silent(), range(2))) >= 1
    assert deployment.kinds()[APP].state == pb.MODULE_INACTIVE


def test_slow_and_then_too_slow(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit({"num_outputs": 1}).task_id
    claimed = module.take()
    assert claimed is not None
    assert slow_stages.find(deployment.database, after(60), 10) == 0
    assert slow_stages.find(deployment.database, after(130), 10) == 1
    assert slow_stages.find(deployment.database, after(140), 10) == 0
    assert deployment.get(task_id).stages[APP].HasField("slow_since")
    assert deployment.kinds()[APP].replicas[0].slow
    assert len(deployment.events(STAGE_SLOW, pb.StageSlowEvent)) == 1
    # A module that is not heard may be lost, or have done it in time while the orchestrator was away.
    assert slow_stages.find(deployment.database, after(930), 10) == 0
    deployment.silence("m0", -905)
    deployment.change("INSERT INTO service (id, served_since, served_at) VALUES (1, :away, :away)", away=after(920))
    assert slow_stages.find(deployment.database, after(930), 10) == 0
    assert slow_stages.find(deployment.database, after(941), 10) == 1
    assert deployment.get(task_id).error.code == pb.STAGE_ERROR_TIMEOUT
    assert [stop.number for stop in module.report().stops] == [1]
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (pb.AppRequirements(app_requirements=["x" * (65 * 1024 * 1024)]).SerializeToString(), "app_requirements"),
        (b"\x1a\x02\xff\xfe", "app_requirements"),
        (b"\x0a\x03\xff\xff\xff", "task_id"),
    ],
    ids=["too large", "no text", "no task id"],
)
def test_an_output_that_does_not_fit(deployment: Deployment, data: bytes, member: str):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    answer = module.complete(claimed.attempt, data)
    assert answer.error.code == pb.STAGE_ERROR_INVALID_OUTPUT
    assert member in answer.error.message
    assert deployment.get(task_id).error == answer.error


def test_an_error_in_band_is_a_warning(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit({"num_outputs": 2}).task_id
    carbon = pb.CO2Footprint(extra_data=json.dumps({"num_outputs": 1, "mode": "no_model"}).encode())
    deployment.finish(
        modules,
        ml_model=pb.MLModel(model="NO_MODEL", extra_data=b'{"error": "none fits", "error_code": "NO_MODEL"}'),
        hw_resources=pb.HWResource(hw_description="Error"),
        carbon_footprint=carbon,
    )
    found = deployment.get(task_id)
    assert found.state == pb.STAGE_SUCCEEDED
    assert {stage.kind: stage.warning for stage in found.stages if stage.warning} == {
        MODEL: "none fits",
        RESOURCES: "the hardware is Error",
        CARBON: "the mode is no_model",
    }


def test_an_iteration_that_takes_too_long(deployment: Deployment):
    modules = {kind: Module(deployment, kind) for kind in (APP, METADATA)}
    task_id = deployment.submit({"time_limit": 5}).task_id
    claimed = modules[APP].take()
    assert claimed is not None
    assert late_iterations.expire(deployment.database, after(4), 10) == 0
    assert late_iterations.expire(deployment.database, after(6), 10) == 1
    found = {stage.kind: stage.state for stage in deployment.get(task_id).stages}
    assert found == {
        APP: pb.STAGE_ERROR,
        MODEL: pb.STAGE_SKIPPED,
        RESOURCES: pb.STAGE_SKIPPED,
        CARBON: pb.STAGE_SKIPPED,
        CONSTRAINTS: pb.STAGE_STOPPED,
        METADATA: pb.STAGE_STOPPED,
    }
    iteration = deployment.get(task_id)
    assert (iteration.error.code, iteration.failed_stage) == (pb.STAGE_ERROR_TIMEOUT, APP)
    assert late_iterations.expire(deployment.database, after(6), 10) == 0
    waiting = deployment.submit({"time_limit": 5}).task_id
    assert late_iterations.expire(deployment.database, after(6), 10) == 1
    assert deployment.get(waiting).failed_stage == next(iter(graph.in_order()))


def test_why_a_stage_waits(deployment: Deployment):
    task_id = deployment.submit().task_id
    assert deployment.get(task_id).stages[APP].waiting_for == "no APP_REQUIREMENTS node is present"
    assert deployment.get(task_id).stages[CARBON].waiting_for == "needs ML_MODEL, HW_RESOURCES"
    module = Module(deployment, APP)
    assert "free" in deployment.get(task_id).stages[APP].waiting_for
    module.phase = pb.PHASE_ENDED
    module.report()
    assert "no APP_REQUIREMENTS node is present since " in deployment.get(task_id).stages[APP].waiting_for


def test_what_was_prepared_and_never_started_is_removed(deployment: Deployment):
    deployment.submit(start=False)
    started = deployment.submit().task_id
    day = timedelta(days=1).total_seconds()
    assert old_problems.forget(deployment.database, after(day - 60), 10, age=None) == 0
    assert old_problems.forget(deployment.database, after(day + 60), 10, age=None) == 1
    assert started == task(2, 1)
    assert deployment.submit().task_id == task(3, 1)
    assert len(deployment.events(STAGE_STATUS, pb.StageStatusEvent)) == 0
