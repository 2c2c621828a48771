"""User inputs: defaults, what an iteration inherits, and what an output asks for next."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.problems import inputs

NAMES = [field.name for field in pb.UserInput.DESCRIPTOR.fields if field.name != "task_id"]
EXTRA = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3)


def user_inputs() -> st.SearchStrategy[pb.UserInput]:
    return st.builds(
        lambda extra, **members: pb.UserInput(extra_data=json.dumps(extra).encode(), **members),
        EXTRA,
        modality=st.text(max_size=3),
        problem_definition=st.text(max_size=3),
        inputs=st.lists(st.text(max_size=2), max_size=2),
        minimum_samples=st.integers(0, 2**32 - 1),
        optimize_carbon_footprint_auto=st.booleans(),
        desired_carbon_footprint=st.floats(allow_nan=False),
    )


@given(user_inputs(), user_inputs(), st.frozensets(st.sampled_from(NAMES)))
def test_a_member_that_is_given_replaces_the_parents(parent: pb.UserInput, changes: pb.UserInput, given_: frozenset):
    merged = inputs.merged(parent, changes, given_)
    for name in NAMES:
        assert getattr(merged, name) == getattr(changes if name in given_ else parent, name)


@given(EXTRA.map(lambda extra: {f"x{name}": value for name, value in extra.items()}))
def test_unknown_keys_are_kept_and_defaults_are_filled_in(extra: dict):
    kept, own = inputs.with_defaults(pb.UserInput(extra_data=json.dumps(extra).encode()))
    found = json.loads(kept.extra_data)
    assert {name: found[name] for name in extra} == extra
    assert own == {}
    assert set(found) == {*extra, *inputs.DEFAULTS, "model_family"}
    again, _ = inputs.with_defaults(kept)
    assert again == kept


@pytest.mark.parametrize(
    ("extra", "family"),
    [({}, "Transformers"), ({"type": "CNN"}, "CNN"), ({"type": "CNN", "model_family": "RNN"}, "RNN")],
)
def test_the_family_of_models(extra: dict, family: str):
    kept, _ = inputs.with_defaults(pb.UserInput(extra_data=json.dumps(extra).encode()))
    assert json.loads(kept.extra_data)["model_family"] == family


@pytest.mark.parametrize(
    "extra", [b"[]", b"{", b"1", b"\xff", b'{"num_outputs": 1.5}', b'{"time_limit": "a"}', b"[" * 9999]
)
def test_extra_data_that_is_none(extra: bytes):
    with pytest.raises(BadRequestError):
        inputs.with_defaults(pb.UserInput(extra_data=extra))


@given(st.integers(-5, 50))
def test_a_chain_ends_at_one(wanted: int):
    carbon = pb.CO2Footprint(extra_data=json.dumps({"num_outputs": wanted}).encode())
    user_input = pb.UserInput(task_id=pb.TaskId(problem_id=4, iteration_id=2), extra_data=b'{"keep": 1}')
    following = inputs.following(user_input, carbon, pb.MLModelMetadata(ml_model_metadata=["a", "b"]))
    assert (following is None) == (wanted <= 1)
    if following is not None:
        extra = json.loads(following.extra_data)
        assert extra["num_outputs"] == wanted - 1
        assert (extra["keep"], extra["goal"], extra["previous_problem_id"]) == (1, "a, b", 4)
        assert following.previous_iteration == 2


@pytest.mark.parametrize(
    "extra", [b"", b"\xff", b"[]", b"{}", b'{"num_outputs": "3"}', b'{"num_outputs": true}', b'{"num_outputs": NaN}']
)
def test_an_output_that_asks_for_nothing(extra: bytes):
    assert inputs.following(pb.UserInput(), pb.CO2Footprint(extra_data=extra), pb.MLModelMetadata()) is None


@pytest.mark.parametrize(
    "wanted", [10**400, 2, 1.5, math.inf, math.nan, -(10**400), True, "3"], ids=lambda it: str(it)[:5]
)
def test_a_number_of_outputs_may_be_any(wanted: object):
    carbon = pb.CO2Footprint(extra_data=json.dumps({"num_outputs": wanted}).encode())
    made = inputs.following(pb.UserInput(extra_data=b"{}"), carbon, pb.MLModelMetadata())
    goes_on = isinstance(wanted, int | float) and not isinstance(wanted, bool) and 1 < wanted < math.inf
    assert (made is not None) is goes_on
    if made is not None:
        assert json.loads(made.extra_data)["num_outputs"] == max(1, math.ceil(wanted) - 1)
