"""What must run again: enough that every task gets its inputs, and nothing that could stand."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.compute.reuse import Known, again, contents
from tests.kit.messages import address

Needs = Mapping[int, list[tuple[int, str]]]
OUTPUTS = ("a", "b")


@st.composite
def graphs(draw: st.DrawFn) -> Needs:
    """Tasks by number, each given outputs of some before it, and perhaps of one that is not in the graph."""
    count = draw(st.integers(0, 12))
    return {
        task: draw(st.lists(st.tuples(st.integers(-1, task - 1), st.sampled_from(OUTPUTS)), max_size=4))
        for task in range(count)
    }


@given(needs=graphs(), data=st.data())
def test_what_runs_again_has_its_inputs_and_nothing_runs_for_nothing(needs: Needs, data: st.DataObject) -> None:
    reusable = data.draw(st.sets(st.sampled_from(sorted(needs))) if needs else st.just(set()))
    outputs = [(task, output) for task in needs for output in OUTPUTS]
    gone = data.draw(st.sets(st.sampled_from(outputs)) if outputs else st.just(set()))
    found = again(needs, reusable, gone)
    assert needs.keys() - reusable <= found
    for task in found:
        for parent, output in needs[task]:
            assert parent not in needs or parent in found or (parent, output) not in gone
    # The least such set: each of the others is needed by one that runs again.
    for task in found & reusable:
        assert any((parent, output) in gone and parent == task for user in found for parent, output in needs[user])


@given(needs=graphs())
def test_nothing_runs_again_where_all_may_stand(needs: Needs) -> None:
    everything = {(task, output) for task in needs for output in OUTPUTS}
    assert again(needs, set(needs), everything) == set()
    assert again(needs, (), ()) == set(needs)


TRAIN = pb.Function(key="train", archive=address("1" * 64))
SAME = pb.Function(key="same", archive=address("1" * 64))
OTHER = pb.Function(key="other", archive=address("2" * 64))
KNOWN = Known(
    {function.key: function for function in (TRAIN, SAME, OTHER)},
    {"m": pb.DataManager(key="m", owner="org-1", opener=address("3" * 64))},
    {key: pb.DataSample(key=key, checksum=checksum * 64) for key, checksum in (("s", "4"), ("copy", "4"), ("t", "5"))},
    {key: pb.Model(key=key, address=address(checksum * 64)) for key, checksum in (("x", "6"), ("y", "6"), ("z", "7"))},
)


def new(
    key: str, function: str = "train", inputs: str = "m s", parent: str = "", **changes: object
) -> pb.NewComputeTask:
    made = pb.NewComputeTask(key=key, function_key=function, **changes)
    for given_key in inputs.split():
        made.inputs.add(identifier="input", asset_key=given_key)
    if parent:
        ref = pb.ParentTaskOutputRef(parent_task_key=parent, output_identifier="model")
        made.inputs.add(identifier="shared", parent_task_output=ref)
    return made


def content(*tasks: pb.NewComputeTask) -> bytes:
    return contents({task.key: task for task in tasks}, KNOWN)[tasks[-1].key]


def test_keys_are_no_part_of_a_content_and_all_else_is() -> None:
    base = content(new("1"))
    for same in (new("2"), new("1", "same"), new("1", inputs="m copy")):
        assert content(same) == base
    assert content(new("1", inputs="x")) == content(new("1", inputs="y"))
    changed = [
        new("1", "other"),
        new("1", inputs="m t"),
        new("1", inputs="m"),
        new("1", inputs="s m"),
        new("1", inputs="x"),
        new("1", inputs="z"),
        new("1", inputs="unknown"),
        new("1", worker="org-2"),
        new("1", metadata={"round": "1"}),
        new("1", metadata={"round": "2"}),
        new("1", outputs={"model": pb.NewComputeTaskOutput()}),
        new("1", outputs={"model": pb.NewComputeTaskOutput(transient=True)}),
        new("1", outputs={"model": pb.NewComputeTaskOutput(permissions=pb.NewPermissions(authorized_ids=["a"]))}),
    ]
    digests = [base, *map(content, changed)]
    assert len(set(digests)) == len(digests)


def test_a_change_reaches_all_that_is_below() -> None:
    first, other = new("1"), new("1", "other")
    child, grandchild = new("2", parent="1"), new("3", parent="2")
    assert content(first, child, grandchild) != content(other, child, grandchild)
    renamed = new("9"), new("8", parent="9"), new("7", parent="8")
    assert content(first, child, grandchild) == content(*renamed)
