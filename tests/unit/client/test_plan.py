"""The plan builder: what is written becomes what is registered."""

import uuid

import pytest

from orchestrator import protos as pb
from orchestrator.client import PUBLIC, Plan, PlanError, Scores
from orchestrator.client.plan import key_of, new_plan

MODEL = pb.FunctionOutput(kind=pb.ASSET_MODEL)
SCORE = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)
DATA = {
    "opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER),
    "patients": pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True),
}
START = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
TRAIN = pb.Function(key="train", name="train", inputs={**DATA, "start": START}, outputs={"model": MODEL})
AVERAGE = pb.Function(
    key="average",
    name="average",
    inputs={"all": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)},
    outputs={"mean": MODEL},
)
TEST = pb.Function(
    key="test",
    name="test",
    inputs={**DATA, "subject": pb.FunctionInput(kind=pb.ASSET_MODEL)},
    outputs={"accuracy": SCORE, "auc": SCORE},
)
FUNCTIONS = {function.key: function for function in (TRAIN, AVERAGE, TEST)}


@pytest.fixture
def plan() -> Plan[int]:
    unmeasured = Scores(())
    return Plan(
        new_plan("plan", None, "tag", {"a": "b"}),
        FUNCTIONS.__getitem__,
        lambda plan, batch: batch,
        lambda plan: unmeasured,
    )


def refs(task) -> list[tuple[str, str]]:
    """The inputs of a task: identifier, and the asset's key or the parent's output."""
    return [
        (ref.identifier, ref.asset_key)
        if ref.HasField("asset_key")
        else (ref.identifier, f"{ref.parent_task_output.parent_task_key}/{ref.parent_task_output.output_identifier}")
        for ref in task.message.inputs
    ]


def test_a_round_of_federated_averaging(plan):
    first = plan.train(function="train", data_manager="m1", data_samples=["s1", "s2"], permissions=["hub"])
    second = plan.train(function=TRAIN, data_manager=pb.DataManager(key="m2"), data_samples=["s3"], permissions="hub")
    mean = plan.aggregate(function="average", models=[first, second.outputs["model"]], worker="hub", permissions=PUBLIC)
    again = plan.train(function="train", data_manager="m1", data_samples=["s1"], shared=mean)
    tested = plan.test(
        function="test", data_manager="m1", data_samples=[pb.DataSample(key="s9")], model=again, metadata={"round": "1"}
    )

    assert plan.tasks == [first, second, mean, again, tested]
    assert len({uuid.UUID(task.key) for task in plan.tasks}) == 5
    assert {task.message.compute_plan_key for task in plan.tasks} == {plan.key}
    assert refs(first) == [("opener", "m1"), ("patients", "s1"), ("patients", "s2")]
    assert refs(mean) == [("all", f"{first.key}/model"), ("all", f"{second.key}/model")]
    assert ("start", f"{mean.key}/mean") in refs(again)
    assert ("subject", f"{again.key}/model") in refs(tested)
    assert [task.message.worker for task in plan.tasks] == ["", "", "hub", "", ""]
    assert list(first.message.outputs["model"].permissions.authorized_ids) == ["hub"]
    assert list(second.message.outputs["model"].permissions.authorized_ids) == ["hub"]
    assert mean.message.outputs["mean"].permissions.public
    assert not again.message.outputs["model"].permissions.public
    assert set(tested.message.outputs) == {"accuracy", "auc"}
    assert all(output.permissions.public for output in tested.message.outputs.values())
    assert tested.message.metadata == {"round": "1"}


def test_the_plan_itself(plan):
    assert (plan.message.name, plan.message.tag, dict(plan.message.metadata)) == ("plan", "tag", {"a": "b"})
    assert uuid.UUID(plan.key)
    assert new_plan("plan", "chosen", "", None).key == "chosen"
    assert (plan.submit(), plan.submit(batch=7)) == (1000, 7)


def test_a_task_of_any_kind(plan):
    output = pb.NewComputeTaskOutput(permissions=pb.NewPermissions(public=True), transient=True)
    task = plan.task(
        function="average",
        inputs={"all": [pb.Model(key="model-1"), "model-2"]},
        outputs={"mean": output},
        worker="hub",
    )
    assert refs(task) == [("all", "model-1"), ("all", "model-2")]
    assert task.message.outputs["mean"] == output
    assert task.message.worker == "hub"


def test_an_optional_input_may_be_left_out_none_or_empty(plan):
    data = {"opener": "m", "patients": "s"}
    for start in ({}, {"start": None}, {"start": []}):
        task = plan.task(function="train", inputs={**data, **start})
        assert "start" not in dict(refs(task))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"function": "average", "inputs": {"al": ["m"]}}, "no input 'al'; it declares all"),
        ({"function": "average", "inputs": {"all": ["m"]}, "outputs": {"model": ()}}, "no output 'model'"),
        ({"function": "average"}, "needs the input 'all' (model)"),
        ({"function": "train", "inputs": {"opener": ["m1", "m2"], "patients": "s"}}, "takes one 'opener'"),
    ],
)
def test_what_does_not_fit_the_function_is_said_at_once(plan, asked, words):
    with pytest.raises(PlanError) as caught:
        plan.task(**asked)
    assert words in str(caught.value)
    assert not plan.tasks


def test_an_output_of_another_kind_does_not_fit(plan):
    trained = plan.train(function="train", data_manager="m", data_samples=["s"])
    tested = plan.test(function="test", data_manager="m", data_samples=["s"], model=trained)
    with pytest.raises(PlanError, match=r"takes several models as 'all', but the output 'auc' .* is one performance"):
        plan.aggregate(function="average", models=[tested.outputs["auc"]], worker="hub")
    with pytest.raises(PlanError, match="produces 0 models; name one of its outputs: accuracy, auc"):
        plan.aggregate(function="average", models=[tested], worker="hub")


def test_several_models_fit_an_input_for_several_only(plan):
    split = pb.Function(
        name="split", inputs=AVERAGE.inputs, outputs={"parts": pb.FunctionOutput(kind=pb.ASSET_MODEL, multiple=True)}
    )
    parts = plan.aggregate(function=split, models=["m"], worker="hub")
    assert refs(plan.aggregate(function="average", models=[parts], worker="hub")) == [("all", f"{parts.key}/parts")]
    with pytest.raises(PlanError, match="several models"):
        plan.test(function="test", data_manager="m", data_samples=["s"], model=parts)


def test_the_input_that_is_called_like_its_role_is_taken_where_there_are_several(plan):
    one = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
    function = pb.Function(name="two", inputs={**DATA, "shared": one, "head": one}, outputs={"model": MODEL})
    task = plan.train(function=function, data_manager="m", data_samples=["s"], shared="model")
    assert ("shared", "model") in refs(task)
    with pytest.raises(PlanError, match=r"several model inputs \(head, shared\)"):
        plan.predict(function=function, data_manager="m", data_samples=["s"], model="model")


def test_a_function_without_data_cannot_train(plan):
    with pytest.raises(PlanError, match="function 'average' has no data manager input"):
        plan.train(function="average", data_manager="m", data_samples=["s"])


def test_a_key_in_capitals_is_spelled_as_the_orchestrator_answers_it():
    key = "0E27B6E1-EB0C-4C5E-9D0A-5B1B2A3C4D5E"
    assert new_plan("plan", key, "", None).key == key.lower()
    assert key_of(key) == key.lower()
