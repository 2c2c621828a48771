"""The plan builder: what is written becomes what is registered."""

import uuid
from collections.abc import Iterable

import pytest

from orchestrator import protos as pb
from orchestrator.client import PUBLIC, Plan, PlanError, Scores
from orchestrator.client.plan import key_of, new_plan


def k(name: str) -> str:
    """The key of what a test calls by a short name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


MODEL = pb.FunctionOutput(kind=pb.ASSET_MODEL)
SCORE = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)
DATA = {
    "opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER),
    "patients": pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True),
}
START = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
TRAIN = pb.Function(key=k("train"), name="train", inputs={**DATA, "start": START}, outputs={"model": MODEL})
AVERAGE = pb.Function(
    key=k("average"),
    name="average",
    inputs={"all": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)},
    outputs={"mean": MODEL},
)
TEST = pb.Function(
    key=k("test"),
    name="test",
    inputs={**DATA, "subject": pb.FunctionInput(kind=pb.ASSET_MODEL)},
    outputs={"accuracy": SCORE, "auc": SCORE},
)
FUNCTIONS = {function.key: function for function in (TRAIN, AVERAGE, TEST)}


@pytest.fixture
def looked_up() -> list[tuple[int, str]]:
    """The keys that a plan has looked up, and as what."""
    return []


@pytest.fixture
def plan(looked_up) -> Plan[int]:
    unmeasured = Scores(())

    def look_up(kind: int, keys: Iterable[str]) -> dict[str, str]:
        found = {key: k("s") if k("s").startswith(key) else key for key in keys}
        looked_up.extend((kind, key) for key in keys)
        return found

    return Plan(
        new_plan("plan", None, "tag", {"a": "b"}),
        FUNCTIONS.__getitem__,
        look_up,
        lambda plan, batch, bar: batch,
        lambda plan: unmeasured,
        lambda plan, timeout, bar: "Done",
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
    first = plan.train(function=k("train"), data_manager=k("m1"), data_samples=[k("s1"), k("s2")], permissions=["hub"])
    second = plan.train(
        function=TRAIN, data_manager=pb.DataManager(key=k("m2")), data_samples=[k("s3")], permissions="hub"
    )
    mean = plan.aggregate(
        function=k("average"), models=[first, second.outputs["model"]], worker="hub", permissions=PUBLIC
    )
    again = plan.train(function=k("train"), data_manager=k("m1"), data_samples=[k("s1")], shared=mean)
    tested = plan.test(
        function=k("test"),
        data_manager=k("m1"),
        data_samples=[pb.DataSample(key=k("s9"))],
        model=again,
        metadata={"round": "1"},
    )

    assert plan.tasks == [first, second, mean, again, tested]
    assert len({uuid.UUID(task.key) for task in plan.tasks}) == 5
    assert {task.message.compute_plan_key for task in plan.tasks} == {plan.key}
    assert refs(first) == [("opener", k("m1")), ("patients", k("s1")), ("patients", k("s2"))]
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
    assert (plan.submit(), plan.submit(batch=7)) == (1000, 7)


def test_a_task_of_any_kind(plan):
    output = pb.NewComputeTaskOutput(permissions=pb.NewPermissions(public=True), transient=True)
    task = plan.task(
        function=k("average"),
        inputs={"all": [pb.Model(key=k("model-1")), k("model-2")]},
        outputs={"mean": output},
        worker="hub",
    )
    assert refs(task) == [("all", k("model-1")), ("all", k("model-2"))]
    assert task.message.outputs["mean"] == output
    assert task.message.worker == "hub"


def test_an_optional_input_may_be_left_out_none_or_empty(plan):
    data = {"opener": k("m"), "patients": k("s")}
    for start in ({}, {"start": None}, {"start": []}):
        task = plan.task(function=k("train"), inputs={**data, **start})
        assert "start" not in dict(refs(task))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"function": k("average"), "inputs": {"al": [k("m")]}}, "no input 'al'; it declares all"),
        ({"function": k("average"), "inputs": {"all": [k("m")]}, "outputs": {"model": ()}}, "no output 'model'"),
        ({"function": k("average")}, "needs the input 'all' (model)"),
        ({"function": k("train"), "inputs": {"opener": [k("m1"), k("m2")], "patients": k("s")}}, "takes one 'opener'"),
    ],
)
def test_what_does_not_fit_the_function_is_said_at_once(plan, asked, words):
    with pytest.raises(PlanError) as caught:
        plan.task(**asked)
    assert words in str(caught.value)
    assert not plan.tasks


def test_an_output_of_another_kind_does_not_fit(plan):
    trained = plan.train(function=k("train"), data_manager=k("m"), data_samples=[k("s")])
    tested = plan.test(function=k("test"), data_manager=k("m"), data_samples=[k("s")], model=trained)
    with pytest.raises(PlanError, match="several models as 'all', but is given one performance, the output 'auc'"):
        plan.aggregate(function=k("average"), models=[tested.outputs["auc"]], worker="hub")
    with pytest.raises(PlanError, match="produces 0 models; name one of its outputs: accuracy, auc"):
        plan.aggregate(function=k("average"), models=[tested], worker="hub")


def test_several_models_fit_an_input_for_several_only(plan):
    split = pb.Function(
        name="split", inputs=AVERAGE.inputs, outputs={"parts": pb.FunctionOutput(kind=pb.ASSET_MODEL, multiple=True)}
    )
    parts = plan.aggregate(function=split, models=[k("m")], worker="hub")
    assert refs(plan.aggregate(function=k("average"), models=[parts], worker="hub")) == [("all", f"{parts.key}/parts")]
    with pytest.raises(PlanError, match="several models"):
        plan.test(function=k("test"), data_manager=k("m"), data_samples=[k("s")], model=parts)


def test_the_input_that_is_called_like_its_role_is_taken_where_there_are_several(plan):
    one = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
    function = pb.Function(name="two", inputs={**DATA, "shared": one, "head": one}, outputs={"model": MODEL})
    task = plan.train(function=function, data_manager=k("m"), data_samples=[k("s")], shared=k("model"))
    assert ("shared", k("model")) in refs(task)
    with pytest.raises(PlanError, match=r"several model inputs \(head, shared\)"):
        plan.predict(function=function, data_manager=k("m"), data_samples=[k("s")], model=k("model"))


def test_a_function_without_data_cannot_train(plan):
    with pytest.raises(PlanError, match="function 'average' has no data manager input"):
        plan.train(function=k("average"), data_manager=k("m"), data_samples=[k("s")])


def test_a_key_in_capitals_is_spelled_as_the_orchestrator_answers_it():
    key = "0E27B6E1-EB0C-4C5E-9D0A-5B1B2A3C4D5E"
    assert new_plan("plan", key, "", None).key == key.lower()
    assert key_of(key) == key.lower()


NO_KEY = "is a UUID, not "
DATA_GIVEN = {"data_manager": k("m"), "data_samples": [k("s")]}


def test_metadata_are_texts_and_others_are_named(plan):
    data = {"function": TRAIN, "data_manager": k("manager"), "data_samples": [k("sample")]}
    with pytest.raises(PlanError, match=r"say \{'round': '1'\}, not \{'round': 1\}"):
        plan.train(**data, metadata={"round": 1})
    with pytest.raises(PlanError, match=r"say \{'1': 'x'\}, not \{1: 'x'\}"):
        new_plan("plan", None, "", {1: "x"})
    assert plan.tasks == []


def test_an_output_that_is_not_declared_is_refused_in_words(plan):
    task = plan.train(function=TRAIN, data_manager=k("manager"), data_samples=[k("sample")])
    with pytest.raises(PlanError, match="function 'train' has no output 'modle'; it declares model"):
        task.outputs["modle"]
    assert task.outputs.get("modle") is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"function": "nonsense"}, f"the key of a function {NO_KEY}'nonsense'"),
        (
            {"function": pb.DataManager(key=k("m"))},
            "a function is given itself or by its key, not as a value of type DataManager",
        ),
        ({"data_manager": "nonsense"}, f"input 'opener': the key of a data manager {NO_KEY}'nonsense'"),
        ({"data_manager": ""}, f"the key of a data manager {NO_KEY}''"),
        ({"data_manager": TRAIN}, "takes one data manager as 'opener', but is given a value of type Function"),
        ({"data_manager": pb.DataSample(key=k("s"))}, "as 'opener', but is given a value of type DataSample"),
        ({"data_manager": 5}, "as 'opener', but is given a value of type int"),
        ({"data_samples": [k("s"), "nonsense"]}, f"input 'patients': the key of a data sample {NO_KEY}'nonsense'"),
        ({"data_samples": [pb.Model(key=k("m"))]}, "as 'patients', but is given a value of type Model"),
        ({"data_samples": [b"s"]}, "as 'patients', but is given a value of type bytes"),
        ({"shared": "nonsense"}, f"input 'start': the key of a model {NO_KEY}'nonsense'"),
        (
            {"shared": pb.DataManager(key=k("m"))},
            "takes one model as 'start', but is given a value of type DataManager",
        ),
    ],
)
def test_a_wrong_key_is_found_when_it_is_given(plan, given, words):
    with pytest.raises(PlanError) as caught:
        plan.train(**{"function": k("train"), **DATA_GIVEN, **given})
    assert words in str(caught.value)
    assert not plan.tasks


def test_keys_are_looked_up_as_what_the_function_takes(plan, looked_up):
    plan.train(function=k("train"), data_manager=k("m").upper(), data_samples=[k("s"), pb.DataSample(key=k("t"))])
    assert looked_up == [(pb.ASSET_DATA_MANAGER, k("m")), (pb.ASSET_DATA_SAMPLE, k("s"))]


def test_the_whole_key_stands_in_the_place_of_its_beginning(plan):
    samples = [k("s")[:8].upper(), k("t")]
    task = plan.train(function=k("train"), data_manager=k("m"), data_samples=samples)
    assert refs(task) == [("opener", k("m")), ("patients", k("s")), ("patients", k("t"))]


@pytest.mark.parametrize("key", ["nonsense", "", "-0e27b6e1", None, 5])
def test_what_is_no_key_of_a_plan_is_refused(key):
    with pytest.raises(
        ValueError, match=r"the key of a compute plan is a UUID, not |a compute plan is given itself or"
    ):
        key_of(key)
