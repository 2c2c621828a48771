"""What a runtime does for a step, at a server like Argo's."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message

from orchestrator import protos as pb
from tests.kit.argo import NAMESPACE, FakeArgo
from workers.runtime.argo import Argo, ArgoSettings
from workers.runtime.errors import RefusedError, UnreachableError
from workers.runtime.topics import Topics
from workers.runtime.work import Work, labelled
from workers.runtime.workflows import LABEL

MANIFEST = {"kind": "Workflow", "metadata": {"generateName": "tumour-", "labels": {"site": "x"}}, "spec": {"a": 1}}


class Renaming(FakeArgo):
    """A server that gives names of its own."""

    def _create(self, body: bytes) -> tuple[int, Any] | None:
        asked = json.loads(body)
        asked["workflow"]["metadata"].pop("name")
        return super()._create(json.dumps(asked).encode())


@pytest.fixture
def argo(request: pytest.FixtureRequest) -> Iterator[FakeArgo]:
    with getattr(request, "param", FakeArgo)() as argo:
        yield argo


@pytest.fixture
def work(argo: FakeArgo) -> Iterator[Work]:
    given = {"ARGO_WORKFLOWS_API_HOST": argo.url, "ARGO_WORKFLOWS_NAMESPACE": NAMESPACE}
    with closing(Argo(ArgoSettings(**given))) as workflows:
        yield Work(workflows, no_topics)


def no_topics() -> Topics:
    raise RefusedError("there is no Kafka")


def do(work: Work, told: Message, again: bool = False) -> Any:
    packed = Packed()
    packed.Pack(told)
    return work.do(packed, again)


def start(number: int = 7, manifest: Any = MANIFEST, **more: Any) -> pb.StartWork:
    return pb.StartWork(execution=number, manifest=json.dumps(manifest).encode(), label=f"abc-{number}", **more)


def test_a_workflow_is_the_template_with_a_label_and_a_name(argo, work):
    assert do(work, start()).workflow == "tumour-abc-7"
    (asked,) = argo.asked
    assert (asked.method, asked.path) == ("POST", f"/api/v1/workflows/{NAMESPACE}")
    metadata = {"generateName": "tumour-", "name": "tumour-abc-7", "labels": {"site": "x", LABEL: "abc-7"}}
    assert json.loads(asked.body) == {"workflow": {**MANIFEST, "metadata": metadata}}


@pytest.mark.parametrize("argo", [Renaming], indirect=True)
def test_where_an_answer_was_lost_the_label_tells(argo, work):
    argo.lost_answers = 1
    with pytest.raises(UnreachableError):
        do(work, start())
    (name,) = argo.workflows
    assert do(work, start(), again=True).workflow == name
    assert list(argo.workflows) == [name]
    assert do(work, start(8), again=True).workflow != name


def test_where_a_request_comes_late_the_name_tells(argo, work):
    do(work, start())
    # The look of this attempt came before that request.
    assert do(work, start()).workflow == "tumour-abc-7"
    assert len(argo.workflows) == 1


def test_a_name_that_is_taken_by_another_is_refused(work):
    own = {**MANIFEST, "metadata": {"name": "mine"}}
    assert do(work, start(7, own)).workflow == "mine"
    with pytest.raises(RefusedError, match="already exists"):
        do(work, start(8, own))


def test_of_an_execution_that_has_ended_what_is_there_is_named_and_nothing_made(argo, work):
    assert do(work, start(over=True, communication_adapter="K")).workflow == ""
    do(work, start())
    assert do(work, start(over=True)).workflow == "tumour-abc-7"
    assert len(argo.created()) == 1


def test_no_workflow_is_made_before_its_topics_are(argo, work):
    with pytest.raises(RefusedError, match="no Kafka"):
        do(work, start(communication_adapter="K"))
    assert not argo.created()


def test_workflows_are_ended_by_label_and_by_name_and_again(argo, work):
    for number in (7, 8, 9):
        do(work, start(number))
    for _ in range(2):
        do(work, pb.EndWork(label="abc-7", workflow="tumour-abc-9"))
        assert list(argo.workflows) == ["tumour-abc-8"]
    deleted = [each.path for each in argo.asked if each.method == "DELETE"]
    assert deleted[:2] == [f"/api/v1/workflows/{NAMESPACE}/tumour-abc-{number}" for number in (7, 9)]


def test_a_step_that_is_not_known_is_refused(work):
    with pytest.raises(RefusedError, match="update it"):
        do(work, pb.ContainerWork())


@pytest.mark.parametrize("metadata", [["a"], {"labels": ["a"]}, {"labels": "a"}])
def test_metadata_that_are_none_are_refused(metadata):
    with pytest.raises(RefusedError, match="no mapping"):
        labelled({"metadata": metadata}, "abc-7")


@pytest.mark.parametrize("given", [{}, {"metadata": None}, {"metadata": {"generateName": "n" * 300}}])
def test_a_name_is_one_that_pods_can_bear(given):
    name = labelled(given, "abc-7")["metadata"]["name"]
    assert len(name) <= 63
    assert name.endswith("abc-7")
