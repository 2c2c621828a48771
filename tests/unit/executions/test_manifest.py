import copy

import pytest

from orchestrator.executions.templates import manifest
from orchestrator.executions.templates.template import TemplateError

OURS = [("execution_id", "7"), ("platform_maasApiHostname", "maas:1")]
GIVEN = [{"name": "execution_id", "value": "7"}, {"name": "platform_maasApiHostname", "value": "maas:1"}]


def template(**spec):
    return {"kind": "Workflow", "metadata": {"generateName": "x-"}, "spec": {"entrypoint": "main", **spec}}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"arguments": None},
        {"arguments": {}},
        {"arguments": {"parameters": None}},
        {"arguments": {"parameters": []}},
    ],
    ids=["missing", "null", "empty", "null parameters", "empty parameters"],
)
def test_a_template_without_parameters_gets_ours(spec):
    before = template(**spec)
    kept = copy.deepcopy(before)
    made = manifest.make(before, OURS)
    assert made == template(arguments={"parameters": GIVEN})
    assert before == kept


def test_parameters_of_the_template_follow_ours_whose_names_they_do_not_have():
    own = [
        {"name": "rounds", "value": "5"},
        {"name": "execution_id", "value": "of the template"},
        {"name": "mode", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ]
    made = manifest.make(template(arguments={"parameters": own, "artifacts": [{"name": "a"}]}), OURS)
    assert made["spec"]["arguments"] == {"parameters": [*GIVEN, own[0], own[2]], "artifacts": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("words", "spec.arguments is no mapping"),
        (["a"], "spec.arguments is no mapping"),
        ({"parameters": "words"}, "spec.arguments.parameters is no list"),
        ({"parameters": {"a": 1}}, "spec.arguments.parameters is no list"),
        ({"parameters": [{"name": "a"}, "b"]}, r"parameters\[1\] is no mapping with a name"),
        ({"parameters": [{"value": "a"}]}, r"parameters\[0\] is no mapping with a name"),
        ({"parameters": [{"name": 5}]}, r"parameters\[0\] is no mapping with a name"),
    ],
)
def test_arguments_that_are_none_are_refused(arguments, text):
    with pytest.raises(TemplateError, match=text):
        manifest.make(template(arguments=arguments), OURS)
