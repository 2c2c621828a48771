"""A transient model is deleted, in the database and on its worker's disk, once nobody can need it."""

import pytest

from orchestrator import protos as pb
from tests.kit.network import Network
from tests.kit.waiting import wait_until

READS_ONE = 'outputs["model"].write_text(inputs["model"].read_text() + " more")'


@pytest.fixture
def learning(network: Network) -> pb.Function:
    return network.built(network.function())


@pytest.fixture
def refining(network: Network) -> pb.Function:
    taken = {"model": pb.FunctionInput(kind=pb.ASSET_MODEL)}
    return network.built(network.function(READS_ONE, inputs=taken))


def test_a_transient_model_goes_when_its_child_is_done(network: Network, learning: pb.Function, refining: pb.Function):
    client = network.client("org-a")
    plan = client.plan("a model for a while")
    transient = pb.NewComputeTaskOutput(permissions=pb.NewPermissions(public=True), transient=True)
    parent = plan.task(function=learning, worker="org-a", outputs={"model": transient})
    child = plan.task(function=refining, worker="org-b", inputs={"model": parent}, outputs={"model": ()})
    plan.submit()
    assert network.ended(child.key).status == pb.STATUS_DONE

    def model() -> pb.Model:
        wanted = pb.GetComputeTaskModelsParam(compute_task_key=parent.key)
        (found,) = client.models.GetComputeTaskOutputModels(wanted).models
        return found

    store, name = network.store("org-a"), f"models/{model().key}"
    wait_until(lambda: not store.exists(name), 30, "the file to be deleted")
    assert not model().HasField("address")
    events = client.events.QueryEvents(pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key=model().key))).events
    assert [event.event_kind for event in events] == [pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_DISABLED]
