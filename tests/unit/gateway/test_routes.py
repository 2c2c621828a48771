"""Messages as JSON, and what is made of JSON that is something else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.gateway.routes import ROUTES, message, parsed

FIELDS = ["key", "name", "tag", "metadata", "colour"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(key=TEXT, name=TEXT, metadata=st.dictionaries(TEXT, TEXT))
def test_a_message_comes_back_as_it_went(key: str, name: str, metadata: dict[str, str]):
    new = pb.NewComputePlan(key=key, name=name, metadata=metadata)
    assert parsed(message(new), pb.NewComputePlan) == new


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_no_message_is_refused_as_a_bad_request(body: bytes):
    try:
        made = parsed(body, pb.NewComputePlan)
    except BadRequestError:
        return
    assert isinstance(made, pb.NewComputePlan)


def test_fields_have_the_names_of_the_contract_and_are_there_when_they_are_empty():
    shown = json.loads(message(pb.ComputeTask(compute_plan_key="a", status=pb.STATUS_DONE)))
    fields = ("compute_plan_key", "status", "rank", "inputs")
    assert [shown[field] for field in fields] == ["a", "STATUS_DONE", 0, []]


def test_a_path_stands_once_for_each_method():
    named = [(route.method, route.path) for route in ROUTES]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("body", [b'{"metadata": ' * 50_000, b"[" * 1_000_000])
def test_what_is_nested_deeply_is_refused(body: bytes):
    with pytest.raises(BadRequestError):
        parsed(body, pb.NewComputePlan)
