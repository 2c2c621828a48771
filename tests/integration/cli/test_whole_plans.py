"""`orchestrator plan check`, `submit`, `retry` and `rerun`, against a real server."""

import json
import shlex
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.client import Plan, PlanError
from orchestrator.embedded.certificates import Layout
from tests.kit.messages import new_key
from tests.kit.partners import Partners

from .commands import options, run


@pytest.fixture
def as_org_1(network: Partners, certificates: Layout) -> list[str]:
    return options(network, certificates)


@pytest.fixture
def broken(network: Partners) -> Plan[None]:
    """A plan whose test has failed."""
    plan = network.plan()
    plan.submit()
    for task in plan.tasks[:2]:
        network.do(task.key)
    network.fail(plan.tasks[2].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    return plan


def test_a_file_is_checked_and_submitted(network: Partners, as_org_1: list[str], tmp_path: Path):
    plan, file = network.plan(), tmp_path / "plan.json"
    plan.save(file)
    code, output, errors = run("plan", *as_org_1, "check", str(file))
    assert (code, errors) == (0, "")
    assert output.startswith("3 tasks: nothing is wrong, 1 could begin now\n")
    assert "waits: no worker of org-2 was heard so far: 1 task would wait for one\n" in output
    for _ in range(2):
        code, output, errors = run("plan", *as_org_1, "submit", str(file))
        assert (code, errors) == (0, "")
        first, second = output.splitlines()
        assert first == f"compute plan {plan.key} is submitted, 3 tasks"
        assert second == f"`{shlex.join(['orchestrator', 'plan', *as_org_1])} watch {plan.key[:8]}` follows it"
    plan.tasks[1].message.worker = "nobody"
    plan.save(file)
    code, output, errors = run("plan", *as_org_1, "submit", str(file))
    assert (code, f"task {plan.tasks[1].key} differs in its worker" in errors) == (3, True)


def test_a_cancelled_plan_is_not_said_to_be_submitted(network: Partners, as_org_1: list[str], tmp_path: Path):
    plan, file = network.plan(), tmp_path / "plan.json"
    plan.save(file)
    plan.submit()
    network.data.cancel(plan)
    code, output, errors = run("plan", *as_org_1, "submit", str(file))
    assert (code, output) == (3, "")
    assert "was submitted before, and cancelled" in errors
    again = f"{shlex.join(['orchestrator', 'plan', *as_org_1])} rerun {plan.key[:8]}"
    assert f"`{again}` makes a new one" in " ".join(errors.split())
    assert run(*shlex.split(again)[1:])[0] == 0


def test_what_is_wrong_is_said_for_people_and_machines(network: Partners, as_org_1: list[str], tmp_path: Path):
    plan, file = network.plan(), tmp_path / "plan.json"
    plan.tasks[1].message.worker = "nobody"
    plan.save(file)
    code, output, errors = run("plan", *as_org_1, "check", str(file))
    assert (code, errors) == (1, "Error: 1 fault: the compute plan would not run\n")
    assert f"fault: OE0002: task {plan.tasks[1].key}: its worker 'nobody' is not registered" in output
    code, output, _ = run("plan", *as_org_1, "check", str(file), "--json")
    found = json.loads(output)
    assert (code, found["ok"], found["fault_count"]) == (1, False, 1)
    empty = network.data.plan("without tasks")
    empty.save(file)
    code, _, errors = run("plan", *as_org_1, "submit", str(file))
    assert (code, "has no tasks, and would never end" in errors) == (2, True)
    assert "has no tasks, and would never end" in run("plan", *as_org_1, "check", str(file))[1]
    with pytest.raises(PlanError, match="has no tasks and would never end"):
        empty.wait()
    file.write_text("{}")
    for command in ("check", "submit"):
        code, _, errors = run("plan", *as_org_1, command, str(file))
        assert (code, "holds no compute plan" in errors) == (2, True)


def test_retry_and_what_show_says_of_it(network: Partners, broken: Plan[None], as_org_1: list[str]):
    key = new_key()
    words = ("retry", broken.key[:8], "--new-key", key, "--name", "once more")
    for _ in range(2):
        code, output, errors = run("plan", *as_org_1, *words)
        assert (code, errors) == (0, "")
        first, second = output.splitlines()
        assert first == (f"compute plan {key} is a retry of {broken.key}: 1 task runs, 2 are reused")
        assert second == f"`{shlex.join(['orchestrator', 'plan', *as_org_1])} watch {key[:8]}` follows it"
    _, output, _ = run("plan", *as_org_1, "show", key)
    assert f"{broken.key}: 1 task runs, 2 are reused" in " ".join(output.split())
    _, output, _ = run("plan", *as_org_1, "show", broken.key)
    assert f"{key} (a retry)" in output
    shown = json.loads(run("plan", *as_org_1, "show", key, "--json")[1])
    assert shown["continues"]["origin"] == broken.key
    # As in the first plan, though nothing is above it here.
    assert [task["round"] for task in shown["tasks"]] == [2]
    assert sorted(shown["continues"]["reused"]) == sorted(task.key for task in broken.tasks[:2])
    shown = json.loads(run("plan", *as_org_1, "show", broken.key, "--json")[1])
    assert (shown["continues"], shown["continued_by"]) == (None, [{"plan": key, "kind": "retry"}])
    again = json.loads(run("plan", *as_org_1, *words, "--json")[1])
    (task,) = again["again"].values()
    network.do(task)
    _, output, _ = run("plan", *as_org_1, "scores", key)
    assert "0.5000" in output
    code, _, errors = run("plan", *as_org_1, "retry", key)
    assert (code, "there is nothing to run again" in errors) == (3, True)


def test_rerun_with_another_function(network: Partners, broken: Plan[None], as_org_1: list[str]):
    train = network.train.key
    code, output, errors = run("plan", *as_org_1, "rerun", broken.key, "--replace", f"{train[:10]}={train}")
    assert (code, errors) == (0, "")
    assert "is a rerun of" in output
    assert "1 task runs, 2 are reused" in output
    code, _, errors = run("plan", *as_org_1, "rerun", broken.key, "--replace", f"{train}={new_key()}")
    assert (code, errors.startswith("Error: OE0002: ")) == (3, True)
    for words in ("", "=", train, f"{train}=", "zz=zz"):
        assert run("plan", *as_org_1, "rerun", broken.key, "--replace", words)[0] in (2, 3)


def test_rerun_of_a_plan_that_was_written_anew(network: Partners, as_org_1: list[str], tmp_path: Path):
    first, edited, file = network.plan(), network.plan(name="edited", rounds=2), tmp_path / "plan.json"
    first.submit()
    network.complete(first)
    edited.save(file)
    for _ in range(2):
        code, output, errors = run("plan", *as_org_1, "rerun", first.key, "--file", str(file))
        assert (code, errors) == (0, "")
        assert output.startswith(f"compute plan {edited.key} is a rerun of {first.key}: 3 tasks run, 2 are reused")
    code, _, errors = run("plan", *as_org_1, "rerun", first.key, "--file", str(file), "--name", "another")
    assert (code, "give nothing else beside it" in errors) == (2, True)
