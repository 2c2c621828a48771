"""`orchestrator plan cancel --wait` and `orchestrator node list`, as processes against a real server."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.client import Client, Plan
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.postgres import Postgres
from tests.kit.partners import ORGANIZATIONS, Partners, new_database, opened
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

from .commands import options, run, run_in_terminal, running


@pytest.fixture
def as_org_1(network: Partners, certificates: Layout) -> list[str]:
    return options(network, certificates)


def claim(client: Client, task: str, node: str = "node-1") -> pb.Attempt:
    asked = pb.ClaimTaskParam(compute_task_key=task, node=node, claim_id=str(uuid.uuid4()))
    return client.worker.ClaimTask(asked).attempt


def started(network: Partners) -> tuple[Plan[None], list[tuple[Client, pb.Attempt]]]:
    """A plan that runs one task at each organization, and who runs them."""
    plan = network.plan()
    beside = plan.train(function=network.train, data_manager=network.manager, data_samples=[network.sample])
    plan.submit()
    network.do(plan.tasks[0].key)
    return plan, [
        (network.hub, claim(network.hub, plan.tasks[1].key)),
        (network.data, claim(network.data, beside.key)),
    ]


def stopped(client: Client, attempt: pb.Attempt) -> None:
    client.worker.Heartbeat(pb.HeartbeatParam(node="node-1", stopped=[attempt]))


def test_cancel_waits_until_all_have_stopped(network: Partners, as_org_1: list[str]):
    plan, attempts = started(network)
    with running("plan", *as_org_1, "cancel", plan.key, "--wait", "--timeout", "50") as waiting:
        assert waiting.stdout.readline() == f"compute plan {plan.key} is cancelled\n"
        lines = [waiting.stdout.readline() for _ in range(2)]
        assert [re.sub(r"\d+ s", "N s", line) for line in lines] == [
            f"{name}: requested 1 (N s ago), delivered 0, stopped 0\n" for name in ORGANIZATIONS
        ]
        client, attempt = attempts[0]
        assert client.worker.Heartbeat(pb.HeartbeatParam(node="node-1", attempts=[attempt])).stops
        assert re.match(
            r"org-2: requested 1 \(\d+ s ago\), delivered 1 \(\d+ s ago\), stopped 0$", waiting.stdout.readline()
        )
        stopped(*attempts[1])
        assert re.search(r"^org-1: .* delivered 1 \(.*\), stopped 1 \(\d+ s ago\)$", waiting.stdout.readline())
        assert waiting.poll() is None
        stopped(*attempts[0])
        output, errors = waiting.communicate(timeout=30)
    assert (waiting.returncode, errors) == (0, "")
    assert output.splitlines()[0].startswith("org-2: ")
    assert output.splitlines()[-1] == "all have stopped"


def test_cancel_gives_up_after_the_time_limit_and_may_be_asked_again(network: Partners, as_org_1: list[str]):
    plan, attempts = started(network)
    stopped(*attempts[0])
    code, output, errors = run("plan", *as_org_1, "cancel", plan.key, "--wait", "--timeout", "0.2")
    assert (code, errors.count("\n")) == (1, 1)
    assert "after 0.2 s not all have said that they stopped: 1 of org-1, 1 of org-2" in errors
    assert output.count("requested 1") == 2
    for client, attempt in attempts:
        stopped(client, attempt)
    code, output, _ = run("plan", *as_org_1, "cancel", plan.key, "--wait")
    assert (code, output.splitlines()[-1]) == (0, "all have stopped")
    assert run("plan", *as_org_1, "cancel", plan.key)[0] == 3


def test_cancel_waits_for_nothing_where_nothing_ran_and_says_what_had_become_of_the_tasks(
    network: Partners, as_org_1: list[str]
):
    plan = network.plan()
    plan.submit()
    network.do(plan.tasks[0].key)
    code, output, errors = run("plan", *as_org_1, "cancel", plan.key, "--wait")
    assert (code, errors) == (0, "")
    unbegun = len(plan.tasks) - 1
    assert (
        output
        == f"compute plan {plan.key} is cancelled\nnothing had to be stopped: 1 Done before, {unbegun} had not begun\n"
    )
    assert unbegun


def test_a_plan_that_is_done_stays_so(network: Partners, as_org_1: list[str]):
    plan = network.plan()
    plan.submit()
    for task in plan.tasks:
        network.do(task.key)
    code, output, errors = run("plan", *as_org_1, "cancel", plan.key, "--wait")
    assert (code, output) == (1, "")
    assert f"is Done, with all its {len(plan.tasks)} tasks: nothing is cancelled" in errors
    assert network.data.wait(plan, bar=False) == "Done"


def test_cancel_shows_a_table_in_a_terminal(network: Partners, as_org_1: list[str]):
    plan, attempts = started(network)
    network.data.cancel(plan)
    stopped(*attempts[0])
    code, shown = run_in_terminal("plan", *as_org_1, "cancel", plan.key, "--wait", "--timeout", "1")
    assert code == 1
    for word in (b"organization", b"requested", b"delivered", b"stopped", b"org-1", b"org-2", b" ago)"):
        assert word in shown
    stopped(*attempts[1])
    code, shown = run_in_terminal("plan", *as_org_1, "cancel", plan.key, "--wait")
    assert (code, b"all have stopped" in shown) == (0, True)


def test_a_plan_of_another_is_not_cancelled(network: Partners, certificates: Layout):
    plan, _ = started(network)
    code, _, errors = run("plan", *options(network, certificates, "org-2"), "cancel", plan.key, "--wait")
    assert (code, errors.startswith("Error: OE0102: ")) == (3, True)


def test_wrong_usage(as_org_1: list[str]):
    key = str(uuid.uuid4())
    code, _, errors = run("plan", *as_org_1, "cancel", key, "--timeout", "5")
    assert (code, "--wait" in errors) == (2, True)
    assert run("plan", *as_org_1, "cancel", key, "--wait", "--timeout", "0")[0] == 2
    assert run("plan", *as_org_1, "cancel", key, "--wait", "--timeout", "soon")[0] == 2


def test_nodes_that_live(network: Partners, as_org_1: list[str]):
    code, output, _ = run("node", *as_org_1, "list", "--json")
    assert (code, json.loads(output)) == (0, {"nodes": []})
    plan = network.plan()
    plan.submit()
    attempt = claim(network.data, plan.tasks[0].key, "a")
    network.data.worker.Heartbeat(pb.HeartbeatParam(node="a", attempts=[attempt]))
    network.hub.worker.Heartbeat(pb.HeartbeatParam(node="[red]b\x1b[2J"))
    code, output, _ = run("node", *as_org_1, "list", "--json")
    first, second = json.loads(output)["nodes"]
    assert code == 0
    assert (first["organization"], first["name"], first["attempts"], first["state"]) == ("org-1", "a", 1, "alive")
    assert (second["organization"], second["attempts"], second["state"]) == ("org-2", 0, "alive")
    assert 0 <= first["age"] < 60
    code, output, _ = run("node", *as_org_1, "list")
    assert code == 0
    assert "\x1b" not in output
    assert "[red]b" in output
    assert re.search(r"^ *org-1 +a +\d+ s ago +1 +alive", output, re.MULTILINE)


@pytest.fixture
def hasty(postgres: Postgres, tmp_path: Path) -> Iterator[Partners]:
    """A network whose leases last a moment."""
    channels = {"channel": [*ORGANIZATIONS]}
    with (
        serving(tmp_path, new_database(postgres), channels, {"ORCHESTRATOR_LEASE": "100ms"}) as address,
        opened(address, "channel", None) as network,
    ):
        network.data.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
        yield network


def test_a_node_that_is_not_heard_for_two_leases_is_silent(hasty: Partners):
    hasty.data.worker.Heartbeat(pb.HeartbeatParam(node="a"))

    def listed() -> dict:
        arguments = ("--address", hasty.address, "--org", "org-2", "--channel", hasty.channel)
        (node,) = json.loads(run("node", *arguments, "list", "--json")[1])["nodes"]
        return node

    node = wait_until(lambda: (shown := listed())["state"] == "silent" and shown, timeout=30)
    assert node["age"] >= 0.2
    arguments = ("--address", hasty.address, "--org", "org-2", "--channel", hasty.channel)
    shown = run("node", *arguments, "list")[1]
    assert "silent" in shown
    assert "org-1 is away" in shown
