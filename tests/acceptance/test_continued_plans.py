"""A plan that was broken on purpose is mended and gone on with by the command, in a federation that runs."""

import json

import pytest

from orchestrator import protos as pb
from tests.kit.network import Network
from tests.kit.waiting import wait_until

REFINES = 'outputs["model"].write_text(inputs["model"].read_text() + " more")'
BREAKS = 'raise SystemExit("broken on purpose")'
ONE_MODEL = {"model": pb.FunctionInput(kind=pb.ASSET_MODEL)}
PUBLIC = pb.NewPermissions(public=True)


def command(network: Network, *words: str) -> dict:
    done = network.command("plan", "--data", str(network.federation.data), "--org", "org-a", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transient", [False, True], ids=["reused", "gone and made again"])
def test_a_broken_plan_is_retried_with_a_mended_function(network: Network, transient: bool, tmp_path):
    client = network.client("org-a")
    learning, breaking, refining = (
        network.built(function)
        for function in (
            network.function(),
            network.function(BREAKS, inputs=ONE_MODEL),
            network.function(REFINES, inputs=ONE_MODEL),
        )
    )
    plan = client.plan("broken on purpose")
    output = pb.NewComputeTaskOutput(permissions=PUBLIC, transient=transient)
    parent = plan.task(function=learning, worker="org-a", outputs={"model": output})
    child = plan.task(function=breaking, worker="org-b", inputs={"model": parent}, outputs={"model": PUBLIC})
    assert client.check(plan).ok
    plan.submit()
    assert network.ended(child.key).status == pb.STATUS_FAILED
    if transient:
        wait_until(lambda: not client.model(parent).HasField("address"), 30, "the model to be deleted")

    made = command(network, "retry", plan.key[:13], "--replace", f"{breaking.key[:13]}={refining.key}")
    assert set(made["again"]) == ({parent.key, child.key} if transient else {child.key})
    again = made["again"][child.key]
    assert network.ended(again).status == pb.STATUS_DONE
    model = client.models.GetComputeTaskOutputModels(pb.GetComputeTaskModelsParam(compute_task_key=again)).models[0]
    assert client.download(model, tmp_path / "model").read_text().endswith(" more")
    shown = command(network, "show", plan.key)
    assert shown["state"] == "Failed"
    assert [link["plan"] for link in shown["continued_by"]] == [made["plan"]["key"]]
