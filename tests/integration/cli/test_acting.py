"""On a federation that runs here, a command acts as whoever may; after a failure it says what to do next."""

import json
import re
import shlex
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.client import Task
from orchestrator.client.folders import digest
from orchestrator.embedded.certificates import Layout
from tests.kit.home import Home, done, folders_in
from tests.kit.local import runs_here

from .commands import run

ONE_MODEL = "outputs: {model: {kind: model}}"


@pytest.fixture
def local(home: Home, certificates: Layout, served_address: str, tmp_path: Path) -> list[str]:
    """Connection options of a federation whose first organization, org-2, owns nothing."""
    runs_here(tmp_path / "here", served_address, home.client.channel, certificates, ("org-2", "org-1"))
    return ["--data", str(tmp_path / "here")]


def one_task(home: Home, tmp_path: Path, worker: str = "org-1") -> Task:
    """Return a task of org-1, whose function is built."""
    function = home.built(home.function(tmp_path / "average", ONE_MODEL, permissions="org-2"))
    plan = home.client.plan("plan")
    task = plan.task(function=function, worker=worker)
    plan.submit()
    return task


def plan_of(home: Home, task: str) -> str:
    return home.client.tasks.GetTask(pb.GetTaskParam(key=task)).compute_plan_key


def log_of(home: Home, key: str, text: str) -> pb.Addressable:
    file = home.store.root / "logs" / f"{key}-1"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return pb.Addressable(checksum=digest(file), storage_address=f"{home.url}/logs/{key}-1")


def report(home: Home, key: str, kind: int, text: str) -> None:
    address, error = log_of(home, key, text), pb.ERROR_TYPE_EXECUTION
    if kind == pb.FAILED_ASSET_FUNCTION:
        error = pb.ERROR_TYPE_BUILD
    new = pb.NewFailureReport(asset_key=key, asset_type=kind, error_type=error, logs_address=address)
    home.client.failure_reports.RegisterFailureReport(new)


def failed_task(home: Home, tmp_path: Path) -> str:
    key = one_task(home, tmp_path).key
    home.client.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=key, action=pb.TASK_ACTION_EXECUTING))
    report(home, key, pb.FAILED_ASSET_COMPUTE_TASK, "no such column\n")
    return key


def unbuilt_plan(home: Home, tmp_path: Path) -> tuple[str, str]:
    """Return the keys of a function that could not be built, and of a plan that needed it."""
    function = home.function(tmp_path / "average", ONE_MODEL)
    plan = home.client.plan("plan")
    plan.task(function=function, worker="org-1")
    plan.submit()
    home.act(function, pb.FUNCTION_ACTION_BUILDING)
    report(home, function.key, pb.FAILED_ASSET_FUNCTION, "Dockerfile, line 3: no such package\n")
    return function.key, plan.key


def test_the_owner_cancels(home: Home, local: list[str], tmp_path: Path):
    key = plan_of(home, one_task(home, tmp_path).key)
    code, _, errors = run("plan", *local, "--org", "org-2", "cancel", key[:10])
    assert (code, errors.count("\n"), "belongs to org-1" in errors) == (3, 1, True)
    assert run("plan", *local, "cancel", key[:10]) == (0, f"compute plan {key} is cancelled\n", "")


def test_the_owner_downloads_and_adds(home: Home, local: list[str], tmp_path: Path):
    model = done(home, one_task(home, tmp_path).key, b"content")
    code, _, errors = run("model", *local, "get", model, str(tmp_path), "--org", "org-2")
    assert (code, errors.count("\n"), "only org-1 may" in errors) == (3, 1, True)
    code, _, errors = run("model", *local, "get", model[:10], str(tmp_path))
    assert (code, errors, (tmp_path / model).read_bytes()) == (0, "", b"content")
    dataset = home.client.add_dataset(__file__, name="patients")
    (folder,) = folders_in(tmp_path, b"one")
    code, output, errors = run("data", *local, "add", "--to", dataset.key[:10], str(folder))
    assert (code, errors, "data sample" in output) == (0, "", True)
    code, _, errors = run("data", *local, "--org", "org-2", "add", "--to", dataset.key[:10], str(folder))
    assert (code, errors.count("\n"), "only org-1 may" in errors) == (3, 1, True)


def test_what_failed_names_the_command_that_says_why(home: Home, local: list[str], tmp_path: Path):
    key = failed_task(home, tmp_path)
    for words in (("watch", "--quiet"), ("show",)):
        code, output, errors = run("plan", *local, *words, plan_of(home, key)[:10])
        said = output + errors
        assert (code, "average failed at org-1, EXECUTION error" in said) == (words[0] == "watch", True)
        assert f"orchestrator plan{' '.join(['', *local])} retry {plan_of(home, key)[:8]}" in said
        (line,) = re.findall(r"read its log: orchestrator (.*)", said)
        assert line.split()[-1] == key[:8]
        assert run(*shlex.split(line)) == (0, "no such column\n", "")
    code, _, errors = run("task", *local, "--org", "org-2", "logs", key[:8])
    assert (code, "only org-1 may" in errors) == (3, True)


def test_a_function_that_was_not_built_says_why(home: Home, local: list[str], tmp_path: Path):
    function, plan = unbuilt_plan(home, tmp_path)
    code, output, _ = run("function", *local, "show", function[:10])
    assert (code, "line 3: no such package" in output) == (0, True)
    code, output, _ = run("function", *local, "show", function[:10], "--json")
    shown = json.loads(output)
    assert (shown["state"], "line 3: no such package" in shown["reason"]) == ("Failed", True)
    for words in (("watch", "--quiet"), ("show",)):
        _, output, errors = run("plan", *local, *words, plan)
        assert "line 3: no such package" in output + errors
        (line,) = re.findall(r"read its log: orchestrator (.*)", output + errors)
        assert run(*shlex.split(line)) == (0, "Dockerfile, line 3: no such package\n", "")
        assert f"retry {plan[:8]} --replace {function[:8]}=NEW" in output + errors


def test_the_federation_above_is_meant(home: Home, certificates: Layout, served_address: str, tmp_path: Path):
    runs_here(tmp_path / ".orchestrator", served_address, home.client.channel, certificates, ("org-1",))
    (tmp_path / "data" / "north").mkdir(parents=True)
    code, output, errors = run("org", "list", "--json", folder=tmp_path / "data" / "north")
    assert (code, errors) == (0, "")
    assert home.url in output


def test_whoever_is_asked_decides(
    home: Home, certificates: Layout, served_address: str, local: list[str], tmp_path: Path
):
    task = one_task(home, tmp_path, worker="org-2")
    runs_here(tmp_path / "here", served_address, home.client.channel, certificates, ("org-1", "org-2"))
    declined = pb.DeclineTaskParam(compute_task_key=task.key, reason="org-2 has not approved", function=True)
    home.other.worker.DeclineTask(declined)
    code, output, errors = run("consent", *local, "list")
    assert (code, errors) == (0, "")
    assert "1 task waits: org-2 has not approved" in output
    (line,) = re.findall(r"read it +orchestrator (.*)", output)
    code, output, errors = run(*shlex.split(line))
    assert (code, errors, "org-2 has not approved" in output) == (0, "", True)
    function = home.client.tasks.GetTask(pb.GetTaskParam(key=task.key)).function_key
    code, output, errors = run("consent", *local, "approve", "--function", function[:10])
    assert (code, errors) == (0, "")
    assert output.startswith("org-2 has approved function average of org-1")
    code, output, errors = run("consent", *local, "approve", "--plan", plan_of(home, task.key)[:10], "--json")
    assert (code, json.loads(output)["decision"]) == (0, "approved")


def test_the_owner_goes_on(home: Home, local: list[str], tmp_path: Path):
    plan = plan_of(home, failed_task(home, tmp_path))
    code, output, errors = run("plan", *local, "retry", plan[:10])
    assert (code, errors) == (0, "")
    (line,) = re.findall(r"`orchestrator (plan .*watch .*)` follows it", output)
    again = run(*shlex.split(line.replace("watch", "show")), "--json")
    assert (again[0], json.loads(again[1])["owner"]) == (0, "org-1")
