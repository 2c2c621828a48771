"""Schemas of our own implementation, `tasks`: what their template may say, as clients see it."""

import pytest

from tests.kit.portal import Portal, new_execution, new_schema

RUNS = b"""
metadata: {generateName: train-}
spec:
  entrypoint: main
  templates:
    - name: main
      nodeSelector: {dataPartner: "{{workflow.parameters.execution_dataPartner}}"}
      container: {image: "engine:{{workflow.parameters.NAME}}", args: ["{{workflow.parameters.execution_id}}"]}
"""
NAME = b"execution_main-ai-engine-version"


def stored(portal: Portal, template: bytes):
    schema = new_schema(implementation="tasks", inputs={"platform_data": True})
    return portal.send("POST", "/api/schemas/", schema, {"auxiliary_file": template})


def test_an_execution_of_such_a_schema_is_kept_as_any_other(portal):
    schema = stored(portal, RUNS.replace(b"NAME", NAME)).json()
    assert schema["implementation"] == "tasks"
    assert schema["name"] in [
        each["name"] for each in portal.get("/api/schemas/?implementation=tasks").json()["results"]
    ]
    execution = portal.execution(schema)
    assert execution["state"] == {"status": "pending"}
    assert portal.send("DELETE", f"/api/executions/{execution['id']}/").status_code == 204


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (b"kind: Workflow", "it has no mapping `spec`"),
        (b"\xff\xfe\x00", "is no workflow"),
        (RUNS.replace(b"container:", b"script:"), 'template "main": `script` cannot be used'),
        (RUNS.replace(b"  entrypoint", b"  parallelism: 1\n  entrypoint"), "spec: `parallelism` cannot be used"),
        (RUNS.replace(b"main\n  templates", b"other\n  templates"), 'there is no template "other"'),
    ],
)
def test_a_template_that_cannot_be_run_is_refused_with_its_schema(portal, template, text):
    kept = portal.kept()
    answer = stored(portal, template)
    assert answer.status_code == 400
    (problem,) = answer.json()
    assert text in problem
    assert portal.kept() == kept


def test_what_an_execution_makes_of_a_template_is_refused_with_it_and_leaves_nothing(portal):
    schema = stored(portal, RUNS).json()
    kept = portal.kept()
    answer = portal.send("POST", "/api/executions/", *new_execution(schema))
    assert answer.status_code == 400
    (problem,) = answer.json()
    assert "`{{workflow.parameters.NAME}}` stands for nothing here" in problem
    assert portal.kept() == kept
    assert portal.get(f"/api/executions/?schema={schema['name']}").json()["count"] == 0
