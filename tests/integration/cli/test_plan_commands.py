"""`orchestrator plan` and `orchestrator task`, as processes against a real server with mutual TLS."""

import json
import signal
import uuid
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout, lay_out
from orchestrator.embedded.ports import free_port
from tests.kit.local import runs_here
from tests.kit.partners import Partners

from .commands import options, run, run_in_terminal, running


@pytest.fixture
def as_org_1(network: Partners, certificates: Layout) -> list[str]:
    return options(network, certificates)


def test_list(network: Partners, as_org_1: list[str]):
    for number in range(3):
        network.plan(name=f"plan {number}").submit()
    code, output, _ = run("plan", *as_org_1, "list", "--limit", "2", "--json")
    listed = json.loads(output)["plans"]
    assert code == 0
    assert [plan["name"] for plan in listed] == ["plan 1", "plan 2"]
    assert listed[0]["state"] == "Waiting"
    assert listed[0]["counts"]["To do"] == 1
    assert listed[0]["counts"]["Waiting"] == 2
    assert datetime.fromisoformat(listed[0]["creation_date"]).tzinfo

    code, output, _ = run("plan", *as_org_1, "list", "--limit", "0")
    assert code == 0
    assert [word for word in ("Waiting", "Building", "To do", "Doing", "Done", "Cancelled", "Failed") if word in output]
    assert all(f"plan {number}" in output for number in range(3))


def test_connection_options_may_stand_behind_the_command_too(network: Partners, as_org_1: list[str]):
    network.plan(name="the plan").submit()
    middle = as_org_1.index("--org")
    joined = [f"{name}={value}" for name, value in zip(as_org_1[::2], as_org_1[1::2], strict=True)]
    for words in (
        ["list", *as_org_1, "--json"],
        [*as_org_1[:middle], "list", "--json", *as_org_1[middle:]],
        ["list", "--limit", "1", *joined, "--json"],
    ):
        code, output, errors = run("plan", *words)
        assert (code, errors) == (0, "")
        assert [plan["name"] for plan in json.loads(output)["plans"]] == ["the plan"]
    for words in (["list", "--org"], ["list", "--nothing"], ["--nothing", "list"], ["list", "--", "--org"]):
        code, output, errors = run("plan", *words)
        assert (code, output, "Usage: " in errors) == (2, "", True)


def test_show(network: Partners, as_org_1: list[str]):
    plan = network.plan(name="[bold]\x1b[2Jnasty[/bold]")
    plan.submit()
    network.do(plan.tasks[0].key)
    network.fail(plan.tasks[1].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    code, output, _ = run("plan", *as_org_1, "show", plan.key[:13])
    assert code == 0
    assert "[bold]" in output
    assert "\x1b" not in output
    lines = [next(line for line in output.splitlines() if f" {task.key} " in line).split() for task in plan.tasks]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert [line[2:5] for line in lines] == [
        ["train", "org-1", "Done"],
        ["average", "org-2", "Failed"],
        ["test", "org-1", "Waiting"],
    ]
    assert [line[-1] for line in lines] == ["s", "INTERNAL", plan.tasks[1].key[:8]]
    code, output, _ = run("plan", *as_org_1, "show", plan.key, "--json")
    shown = json.loads(output)
    assert (code, shown["state"], shown["counts"]["Done"]) == (0, "Failed", 1)
    assert [task["state"] for task in shown["tasks"]] == ["Done", "Failed", "Waiting"]
    assert [task["error_type"] for task in shown["tasks"]] == ["", "INTERNAL", ""]
    assert [task["waits_for"] for task in shown["tasks"]] == [[], [], [plan.tasks[1].key]]
    assert [task["attempts"] for task in shown["tasks"]] == [1, 1, 0]
    began, ended = (datetime.fromisoformat(shown["tasks"][0][name]) for name in ("began", "ended"))
    assert began <= ended
    assert shown["tasks"][2]["began"] is None


def test_explain(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    first, second, _ = plan.tasks
    code, output, errors = run("task", *as_org_1, "explain", second.key[:13])
    assert (code, errors) == (0, "")
    assert output.count("\n") == 1
    assert f"waits for parent {first.key[:8]} at org-1, To do since" in output
    network.fail(first.key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    code, output, _ = run("task", *as_org_1, "explain", second.key)
    said, hint = output.splitlines()
    assert said.endswith("attempt 1 at org-1 ended in an internal error")
    assert hint.endswith(f"show {first.key[:8]}"), "the task that failed; of an internal error no log is for others"
    code, output, _ = run("task", "explain", first.key, *as_org_1, "--json")
    told = json.loads(output)
    assert (code, told["task"], told["state"]) == (0, first.key, "Failed")
    assert [cause["kind"] for cause in told["causes"]] == ["CAUSE_FAULT"]
    assert datetime.fromisoformat(told["since"]).tzinfo


def test_a_prefix_must_be_of_one_plan(network: Partners, as_org_1: list[str]):
    beginning = uuid.uuid4().hex[:6]
    for number in range(2):
        key = f"{beginning}0{number}-{str(uuid.uuid4()).partition('-')[2]}"
        network.data.plan("twin", key=key).submit()
    assert run("plan", *as_org_1, "show", f"{beginning}00", "--json")[0] == 0
    code, _, errors = run("plan", *as_org_1, "show", beginning)
    assert (code, "several compute plans have keys that begin with" in errors) == (2, True)
    code, _, errors = run("plan", *as_org_1, "show", "zz")
    assert (code, errors.count("\n"), "begins with 'zz'" in errors) == (3, 1, True)


def test_watch_ends_with_the_plan(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    with running("plan", *as_org_1, "watch", plan.key) as watching:
        first = watching.stdout.readline()
        assert "created" in first
        network.complete(plan)
        output, errors = watching.communicate(timeout=30)
        assert (watching.returncode, errors) == (0, "")
    assert output.splitlines()[-1] == "Done"
    assert "auc = 0.5" in output
    done = [line for line in output.splitlines() if " Done (asked" in line]
    assert len(done) == 3


def test_watch_shows_a_bar_in_a_terminal(network: Partners, as_org_1: list[str]):
    plan = network.plan(name="[red]three tasks")
    plan.submit()
    network.complete(plan)
    code, shown = run_in_terminal("plan", *as_org_1, "watch", plan.key)
    assert code == 0
    assert b"[red]three tasks" in shown
    assert b"Done 3" in shown
    assert b"auc = 0.5" in shown


def test_watch_says_when_a_plan_did_not_end_well(network: Partners, as_org_1: list[str]):
    cancelled, failed = network.plan(), network.plan()
    cancelled.submit()
    failed.submit()
    network.data.cancel(cancelled)
    network.fail(failed.tasks[0].key, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    code, _, errors = run("plan", *as_org_1, "watch", cancelled.key)
    assert (code, "is Cancelled" in errors) == (1, True)
    code, output, errors = run("plan", *as_org_1, "watch", failed.key)
    assert (code, "is Failed" in errors) == (1, True)
    assert "failed: INTERNAL error reported by org-1" in output
    code, output, again = run("plan", *as_org_1, "watch", "--quiet", failed.key)
    assert (code, output, again) == (1, "", errors)


def test_watch_is_interrupted_with_a_word(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    with running("plan", *as_org_1, "watch", plan.key) as watching:
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=30)
        assert (watching.returncode, errors) == (130, "\nInterrupted\n")


def test_cancel(network: Partners, certificates: Layout, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    code, _, errors = run("plan", *options(network, certificates, "org-2"), "cancel", plan.key)
    assert (code, errors.startswith("Error: OE0102: "), errors.count("\n")) == (3, True, 1)
    code, output, _ = run("plan", *as_org_1, "cancel", plan.key[:8])
    assert (code, output) == (0, f"compute plan {plan.key} is cancelled\n")
    tasks = network.data.tasks.QueryTasks(pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=plan.key)))
    assert {task.status for task in tasks.tasks} == {pb.STATUS_CANCELED}
    code, _, errors = run("plan", *as_org_1, "cancel", plan.key)
    assert (code, errors.startswith("Error: OE0109: ")) == (3, True)
    done = network.plan()
    done.submit()
    network.complete(done)
    code, _, errors = run("plan", *as_org_1, "cancel", done.key)
    assert (code, errors) == (
        1,
        f"Error: compute plan {done.key} is Done, with all its {len(done.tasks)} tasks: nothing is cancelled\n",
    )
    assert not network.data.plans.GetPlan(pb.GetComputePlanParam(key=done.key)).HasField("cancelation_date")


def test_tasks_are_shown_by_their_rounds(network: Partners, as_org_1: list[str]):
    plan = network.data.plan("rounds")
    data = {"function": network.train, "data_manager": network.manager, "data_samples": [network.sample]}
    for number in ("3", "1", "10", "2"):
        plan.train(**data, metadata={"round": number})
    plan.submit()
    code, output, _ = run("plan", *as_org_1, "show", plan.key, "--json")
    assert (code, [task["round"] for task in json.loads(output)["tasks"]]) == (0, [1, 2, 3, 10])


def test_tasks_are_listed_by_who_runs_them(network: Partners, as_org_1: list[str]):
    code, output, _ = run("task", *as_org_1, "list", "--worker", "org-2")
    assert (code, output) == (0, "no such tasks\n")
    plan = network.plan()
    plan.submit()
    network.do(plan.tasks[0].key)
    trained, averaged, tested = plan.tasks

    def listed(*options: str) -> list[str]:
        code, output, _ = run("task", *as_org_1, "list", *options, "--json")
        assert code == 0
        return sorted(each["key"] for each in json.loads(output)["tasks"])

    assert listed("--worker", "org-2") == [averaged.key]
    assert listed("--worker", "org-1") == sorted([trained.key, tested.key])
    assert listed("--state", "done") == listed("--function", network.train.key[:10]) == [trained.key]
    assert len(listed("--limit", "2")) == 2
    assert len(listed("--plan", plan.key[:10])) == 3
    code, output, _ = run("task", *as_org_1, "list", "--plan", plan.key, "--state", "To do")
    assert (code, averaged.key in output, "average" in output, trained.key in output) == (0, True, True, False)


def test_task_show(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    network.complete(plan)
    trained, averaged, tested = plan.tasks
    code, output, _ = run("task", *as_org_1, "show", averaged.key[:8].upper())
    assert code == 0
    assert f"'model' of task {trained.key}" in output
    assert f"https://store.example/models/{averaged.key}" in output
    code, output, _ = run("task", *as_org_1, "show", tested.key, "--json")
    shown = json.loads(output)
    assert (code, shown["state"], shown["attempts"], shown["function_name"]) == (0, "Done", 1, "test")
    assert [entry["status"] for entry in shown["history"]] == [
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "STATUS_EXECUTING",
        "STATUS_DONE",
    ]
    assert shown["performances"][0]["performance_value"] == 0.5
    assert shown["failure_report"] is None
    code, output, _ = run("task", *as_org_1, "show", trained.key, "--json")
    assert [model["output"] for model in json.loads(output)["models"]] == ["model"]


def test_task_logs_says_why_there_are_none(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    first = plan.tasks[0].key
    code, output, errors = run("task", *as_org_1, "logs", first)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "is To do: it has said nothing yet" in errors
    network.fail(first, pb.NewFailureReport(error_type=pb.ERROR_TYPE_INTERNAL))
    code, _, errors = run("task", *as_org_1, "logs", first[:8])
    assert (code, "INTERNAL error" in errors) == (1, True)
    code, output, _ = run("task", *as_org_1, "show", first, "--json")
    assert json.loads(output)["failure_report"]["error_type"] == "ERROR_TYPE_INTERNAL"
    code, _, errors = run("task", *as_org_1, "show", plan.key)
    assert (code, errors.startswith("Error: OE0002: ")) == (3, True)


def test_an_orchestrator_that_is_not_there(certificates: Layout):
    nowhere = Partners(f"127.0.0.1:{free_port()}", "channel", None, None, "", "", None, None, None)
    for command in (("plan", "list"), ("plan", "cancel", str(uuid.uuid4())), ("task", "show", str(uuid.uuid4()))):
        code, output, errors = run(command[0], *options(nowhere, certificates), *command[1:])
        assert (code, output, errors.count("\n")) == (3, "", 1)
        assert f"the orchestrator at {nowhere.address} cannot be reached" in errors


def test_wrong_certificates(network: Partners, certificates: Layout, tmp_path: Path):
    stranger = options(network, lay_out(tmp_path / "other", ["org-1"]))
    code, _, errors = run("plan", *stranger, "list")
    assert (code, errors.count("\n"), "cannot be reached" in errors) == (3, 1, True)

    of_org_2 = options(network, certificates, "org-2")
    of_org_2[of_org_2.index("org-2")] = "org-1"
    code, _, errors = run("plan", *of_org_2, "list")
    assert (code, errors.count("\n"), errors.startswith("Error: OE0102: ")) == (3, 1, True)

    wrong_key = options(network, certificates)
    wrong_key[-1] = str(certificates.client("org-2").key)
    code, _, errors = run("plan", *wrong_key, "list")
    assert (code, errors.count("\n"), "are no certificate and its key" in errors) == (2, 1, True)

    wrong_key[-1] = str(tmp_path / "missing")
    code, _, errors = run("plan", *wrong_key, "list")
    assert (code, "missing" in errors) == (2, True)


def test_wrong_usage(network: Partners, as_org_1: list[str], tmp_path: Path):
    assert run("plan", "list", folder=tmp_path)[0] == 2
    assert f"no federation runs in {tmp_path} or above it" in run("plan", "list", folder=tmp_path)[2]
    code, _, errors = run("plan", "--address", network.address, "list")
    assert (code, "--org (ORCHESTRATOR_ORGANIZATION) is missing" in errors) == (2, True)
    code, _, errors = run("plan", *as_org_1[:-2], "list")
    assert (code, "belong together" in errors) == (2, True)
    assert run("plan", *as_org_1, "show")[0] == 2


def test_the_federation_that_runs_here_is_the_default(network: Partners, certificates: Layout, tmp_path: Path):
    network.plan(name="ours").submit()
    folder = tmp_path / ".orchestrator"
    runs_here(folder, network.address, network.channel, certificates, ("org-1", "org-2"))
    code, output, _ = run("plan", "list", "--json", folder=tmp_path)
    (plan,) = json.loads(output)["plans"]
    assert (code, plan["owner"]) == (0, "org-1")
    code, _, errors = run("plan", "--data", str(folder), "--org", "org-2", "cancel", plan["key"])
    assert (code, errors.startswith("Error: OE0102: ")) == (3, True)
    code, _, errors = run("plan", "--org", "org-9", "list", folder=tmp_path)
    assert (code, "name one of org-1, org-2" in errors) == (2, True)
    (folder / "federation.json").write_text("{}")
    code, _, errors = run("plan", "list", folder=tmp_path)
    assert (code, errors.count("\n"), "federation.json" in errors) == (2, 1, True)


def test_the_environment_says_the_same(network: Partners, certificates: Layout):
    files = certificates.client("org-2")
    environment = {
        "ORCHESTRATOR_ADDRESS": network.address,
        "ORCHESTRATOR_ORGANIZATION": "org-2",
        "ORCHESTRATOR_CHANNELS": f"{network.channel},another",
        "ORCHESTRATOR_CLIENT_CA_CERT": str(files.authority),
        "ORCHESTRATOR_CLIENT_CERT": str(files.certificate),
        "ORCHESTRATOR_CLIENT_KEY": str(files.key),
    }
    code, output, _ = run("plan", "list", "--json", environment=environment)
    assert (code, json.loads(output)) == (0, {"plans": []})
