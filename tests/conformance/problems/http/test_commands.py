"""`orchestrator problem` and `orchestrator module`, over the same HTTP as everybody."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.embedded.ports import free_port
from tests.kit import commands
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)


@pytest.fixture
def run(desk: Desk, tmp_path: Path) -> Any:
    def run(group: str, *arguments: str) -> tuple[int, str, str]:
        done = commands.run(group, "--url", f"http://{desk.host}", *arguments, folder=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


def submitted(run: Any, folder: Path, *arguments: str, **document: Any) -> str:
    (folder / "p.json").write_text(json.dumps(document))
    code, output, errors = run("problem", "submit", "p.json", "--json", *arguments)
    assert (code, errors) == (0, "")
    task = json.loads(output)["task_id"]
    return f"{task['problem_id']}/{task['iteration_id']}"


def test_a_problem_from_its_file_to_its_result(run: Any, desk: Desk, tmp_path: Path):
    desk.present()
    task = submitted(run, tmp_path, "--prepare", problem_short_description="poems")
    problem = task.partition("/")[0]
    code, output, _ = run("problem", "show", task)
    assert (code, f"start {task}" in output, "its task is not started" in output) == (0, True, True)
    code, output, _ = run("problem", "start", problem)
    assert (code, f"watch {task}" in output) == (0, True)
    assert run("problem", "watch", task, "--timeout", "0.1")[0] == 1
    watching = desk.pool.submit(desk.finish, ml_model=pb.MLModel(model="the model"))
    code, output, errors = run("problem", "watch", task, "--timeout", "30")
    watching.result(30)
    assert (code, errors) == (0, "")
    assert f"task {task} is SUCCEEDED" in output
    assert "model the model" in run("problem", "show", task)[1]
    assert json.loads(run("problem", "show", task, "--json")[1])["status"] == "SUCCEEDED"
    assert "poems" in run("problem", "list")[1]
    listed = json.loads(run("problem", "list", "--json", "--limit", "1")[1])["problems"]
    assert [str(each["problem_id"]) for each in listed] == [problem]
    code, output, _ = run("problem", "iterate", problem, "--from", "1", "--prepare")
    assert (code, f"{problem}/2" in output) == (0, True)
    assert f"{problem}/2" in run("problem", "show", problem)[1]
    code, _, errors = run("problem", "delete", problem)
    assert (code, "stop it" in errors) == (1, True)
    assert run("problem", "stop", f"{problem}/2")[0] == 0
    assert run("problem", "delete", f"{problem}/2")[0] == 0
    assert run("problem", "delete", problem)[0] == 0
    code, _, errors = run("problem", "show", problem)
    assert (code, "does not exist" in errors) == (1, True)


def test_a_failure_says_what_to_do_next(run: Any, desk: Desk, tmp_path: Path):
    modules = desk.present()
    task = submitted(run, tmp_path)
    claimed = modules[METADATA].take()
    modules[METADATA].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "ValueError: no")
    code, output, errors = run("problem", "watch", task)
    assert (code, "EXCEPTION: ValueError: no" in output) == (1, True)
    advised = f"problem --url http://{desk.host} reset {task} --stage ML_MODEL_METADATA"
    assert advised in errors
    code, output, _ = run("problem", "reset", task, "--stage", "ML_MODEL_METADATA", "--wait", "0")
    assert code == 0
    desk.finish()
    assert run("problem", "watch", task)[0] == 0


def test_tasks_are_stopped_and_terminated(run: Any, desk: Desk, tmp_path: Path):
    desk.present()
    task = submitted(run, tmp_path)
    for command, code in (("preempt", 0), ("stop", 0), ("reset", 0), ("terminate", 0), ("reset", 1)):
        found, output, errors = run("problem", command, task)
        assert found == code, f"{command}: {output}{errors}"
    code, output, _ = run("problem", "show", task)
    assert "STOPPED" in output
    desk.finish()


def test_modules_are_listed_stopped_and_started(run: Any, desk: Desk):
    module = desk.present()[CONSTRAINTS]
    code, output, _ = run("module", "list")
    assert (code, all(kind in output for kind in KINDS), "HW_CONSTRAINTS/m2" in output) == (0, True, True)
    assert [each["kind"] for each in json.loads(run("module", "list", "--json")[1])["nodes"]] == KINDS
    for command, state in (("stop", "INACTIVE"), ("start", "IDLE")):
        giving = desk.pool.submit(run, "module", command, "HW_CONSTRAINTS", "--json")

        def heed() -> bool:
            told = module.report()
            module.report(outcomes=[pb.CommandOutcome(command_id=each.command_id) for each in told.commands])
            return giving.done()  # noqa: B023 - of this turn

        wait_until(heed, 20)
        code, output, errors = giving.result()
        assert (code, json.loads(output)["state"]) == (0, "APPLIED"), errors
        assert desk.post("/status", {"node_id": CONSTRAINTS}).json() == {"status": state}
    module.phase = pb.PHASE_ENDED
    module.report()
    left = run("module", "list")[1]
    assert "HW_CONSTRAINTS/m2" not in left
    assert "gone, or not heard any more: 1; --all lists them too" in left
    assert "HW_CONSTRAINTS/m2" in run("module", "list", "--all")[1]
    code, _, errors = run("module", "stop", "NOTHING")
    assert (code, "NOTHING" in errors) == (1, True)


def test_a_module_is_asked(run: Any, desk: Desk):
    from .test_configuration import answering

    with answering(desk.present()[METADATA]):
        code, output, _ = run("module", "ask", "ML_MODEL_METADATA", "modality")
    assert (code, '"asked": "modality"' in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("problem", "show", "0"), 2, "PROBLEM/ITERATION"),
        (("problem", "submit", "there-is-none.json"), 2, "does not exist"),
        (("problem", "watch", "1000000/1"), 1, "does not exist"),
        (("problem", "start", "1000000"), 1, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Any, arguments: tuple[str, ...], code: int, words: str):
    found, _, errors = run(*arguments)
    assert (found, words in errors) == (code, True), errors


def test_a_slip_in_a_name_is_told_and_kept(run: Any, tmp_path: Path):
    (tmp_path / "p.json").write_text('{"problem_short_descripton": "digits", "num_outputs": 1}')
    code, _, errors = run("problem", "submit", "p.json")
    assert code == 0
    assert errors.startswith("p.json: problem_short_descripton is kept in extra_data, for modules; did you mean")
    assert errors.endswith(" problem_short_description?\n")


def test_a_file_that_is_no_json_and_a_service_that_is_away(run: Any, tmp_path: Path):
    (tmp_path / "p.json").write_text("{")
    code, _, errors = run("problem", "submit", "p.json")
    assert (code, "no JSON" in errors) == (2, True)
    away = commands.run("module", "list", "--url", f"http://127.0.0.1:{free_port()}", folder=tmp_path)
    assert (away.returncode, "orchestrator up --problems" in away.stderr) == (3, True)
