"""Attempts and builds from claim to report, against a recorded orchestrator; functions run for real."""

import hashlib

import pytest
import structlog.testing

from orchestrator import protos as pb
from tests.kit.world import STORE_URL, TRAINS, World


def test_a_task_is_run_and_its_results_are_reported(world: World) -> None:
    world.claim(world.function(TRAINS))
    world.run()
    (completed,) = world.recorded.completed
    assert completed.attempt.token == "token"
    (model,) = completed.models
    assert model.compute_task_output_identifier == "model"
    assert model.address.storage_address == f"{STORE_URL}/models/{model.key}"
    stored = (world.store / "models" / model.key).read_bytes()
    assert stored == b"42.0"
    assert model.address.checksum == hashlib.sha256(stored).hexdigest()
    (performance,) = completed.performances
    assert performance.performance_value == 0.25
    steps = [step.step for step in completed.profiling_steps]
    assert steps == ["prepare_function", "prepare_inputs", "execution", "save_outputs"]
    assert all(step.duration > 0 and step.asset_key == world.task for step in completed.profiling_steps)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("print('on my way'); sys.exit(3)", "exited with code 3; see the lines above"),
        ("pass", "has not written its output 'model'"),
        ("outputs['model'].mkdir()", "output 'model' is a folder"),
        (TRAINS + "outputs['score'].write_text('NaN')", "performance 'score' is not a JSON file"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
)
def test_a_fault_of_the_function_is_reported_with_its_log(world: World, source: str, complaint: str) -> None:
    world.claim(world.function(source))
    models = len(list((world.store / "models").iterdir()))
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert not failed.timed_out
    assert failed.HasField("logs_address")
    assert log.splitlines()[-1].startswith("Task failed: ")
    assert complaint in log.splitlines()[-1]
    assert "on my way" in log or "on my way" not in source
    assert len(list((world.store / "models").iterdir())) == models


def test_a_function_that_never_ends_is_ended(world: World) -> None:
    world.settings.task_time_limit = 1.0
    world.claim(world.function("time.sleep(600)"))
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert failed.timed_out
    assert log.endswith("it ran longer than 1 seconds\n")
    assert sum(1 for _, beat in world.recorded.heartbeats if beat.attempts) >= 2


def test_the_time_limit_of_the_task_counts_when_it_is_the_shorter_one(world: World) -> None:
    world.claim(world.function("time.sleep(600)")).time_limit.FromMilliseconds(700)
    world.run()
    failed, log = world.failure()
    assert failed.timed_out
    assert log.endswith("it ran longer than 0.7 seconds\n")


def test_the_time_limit_of_the_worker_counts_when_it_is_the_shorter_one(world: World) -> None:
    world.settings.task_time_limit = 0.7
    world.claim(world.function("time.sleep(600)")).time_limit.FromSeconds(600)
    world.run()
    failed, log = world.failure()
    assert failed.timed_out
    assert log.endswith("it ran longer than 0.7 seconds\n")


def test_a_wrong_archive_is_a_build_fault(world: World) -> None:
    function = world.function(TRAINS)
    function.archive.checksum = "0" * 64
    world.claim(function)
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_BUILD
    assert failed.HasField("logs_address")
    assert "has the checksum" in log


def test_a_wrong_model_is_an_internal_fault_without_a_log_address(world: World) -> None:
    claim = world.claim(world.function(TRAINS))
    claim.input_assets[2].model.address.checksum = "0" * 64
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_INTERNAL
    assert not failed.HasField("logs_address")
    assert "the model" in log


@pytest.mark.parametrize(
    ("number", "kind", "what"),
    [(0, "data_manager", ""), (1, "data_sample", ""), (2, "model", "the model")],
)
def test_an_input_of_another_organization_is_not_read_from_the_own_store(
    world: World, number: int, kind: str, what: str
) -> None:
    claim = world.claim(world.function(TRAINS))
    asset = getattr(claim.input_assets[number], kind)
    asset.owner = "org-2"
    world.recorded.organizations = {"org-1": STORE_URL, "org-2": "https://store.org-2.example"}
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_INTERNAL
    assert not failed.HasField("logs_address")
    # The log is not for others, so the report itself tells.
    assert failed.reason in log
    noun = kind.replace("_", " ")
    wanted = "https://store.org-2.example/" if what else f"the {noun} {asset.key} belongs to org-2, and only that"
    assert (what in failed.reason, wanted in failed.reason) == (True, True)


def test_a_function_whose_archive_lies_elsewhere_is_a_build_fault(world: World) -> None:
    function = world.function(TRAINS)
    function.archive.storage_address = world.function(TRAINS).archive.storage_address
    world.claim(function)
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_BUILD
    assert "only fetched from org-1's own asset store and under its own key" in log
    world.build(function.key)
    (report,) = world.recorded.registered_reports
    assert report.error_type == pb.ERROR_TYPE_BUILD


def test_a_stop_order_ends_the_function_and_nothing_is_reported(world: World) -> None:
    world.claim(world.function("time.sleep(600)"))
    world.recorded.stops[world.task] = "the plan was cancelled"
    world.run()
    assert not world.recorded.completed
    assert not world.recorded.failed
    assert not (world.store / "logs").exists()
    assert world.recorded.stopped == [world.task]


def test_results_of_an_attempt_that_lost_the_task_are_deleted(world: World) -> None:
    world.claim(world.function(TRAINS))
    models = sorted((world.store / "models").iterdir())
    world.recorded.completion_refused = "OE0104: another attempt holds the task"
    world.run()
    assert not world.recorded.failed
    assert sorted((world.store / "models").iterdir()) == models
    assert world.recorded.stopped == [world.task]


def test_results_that_are_refused_make_the_task_fail(world: World) -> None:
    world.claim(world.function(TRAINS))
    world.recorded.completion_refused = "OE0107: the output takes no model"
    world.run()
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_INTERNAL
    assert "OE0107" in log


def test_a_refused_claim_is_an_ordinary_event(world: World) -> None:
    world.run()
    assert not world.claimed
    assert not world.recorded.completed
    assert not world.recorded.failed


def test_a_function_is_built_once(world: World) -> None:
    function = world.function(TRAINS)
    world.build(function.key)
    built = world.recorded.functions[function.key]
    assert built.status == pb.FUNCTION_STATUS_READY
    assert built.image == built.archive
    world.build(function.key)
    assert built.status == pb.FUNCTION_STATUS_READY


def test_a_build_that_crashed_goes_on(world: World) -> None:
    function = world.function(TRAINS)
    function.status = pb.FUNCTION_STATUS_BUILDING
    world.build(function.key)
    assert world.recorded.functions[function.key].status == pb.FUNCTION_STATUS_READY


def test_another_organizations_function_is_left_alone(world: World) -> None:
    function = world.function(TRAINS)
    function.owner = "org-2"
    world.build(function.key)
    assert world.recorded.functions[function.key].status == pb.FUNCTION_STATUS_WAITING


def test_a_function_without_a_command_fails_with_a_log(world: World) -> None:
    function = world.function(TRAINS, dockerfile="FROM python\nENTRYPOINT python3 function.py\n")
    world.build(function.key)
    (report,) = world.recorded.registered_reports
    assert report.error_type == pb.ERROR_TYPE_BUILD
    assert report.asset_type == pb.FAILED_ASSET_FUNCTION
    log = world.store / "logs" / f"{function.key}-1"
    assert report.logs_address.checksum == hashlib.sha256(log.read_bytes()).hexdigest()
    assert "not in exec form" in log.read_text()
    assert world.recorded.functions[function.key].status == pb.FUNCTION_STATUS_FAILED


def test_a_report_whose_answer_is_lost_is_given_once(world: World) -> None:
    function = world.function(TRAINS, dockerfile="FROM python\nENTRYPOINT python3 function.py\n")
    world.recorded.unanswered = 1
    with structlog.testing.capture_logs() as logs:
        world.build(function.key)
    assert len(world.recorded.registered_reports) == 1
    assert [entry["event"] for entry in logs] == ["function.failed"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_performance_that_is_not_finite_is_kept(world: World, number: str) -> None:
    score = f"outputs['score'].write_text('{{\"all\": {number}}}')"
    world.claim(world.function(TRAINS + score))
    world.run()
    (done,) = world.recorded.completed
    assert str(done.performances[0].performance_value) == str(float(number))
