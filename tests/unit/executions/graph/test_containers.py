import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.executions.graph import containers, workflow
from orchestrator.executions.graph.errors import OutsideError
from orchestrator.executions.templates import manifest, template

PARTNERS = [{"data_partner": "p1", "data_path": "/a"}, {"data_partner": "p2", "data_path": 'b"\\{{x}}'}]
PARAMETERS = [
    ("execution_id", "7"),
    ("execution_main-version", "4"),
    ("list", json.dumps(PARTNERS)),
    ("odd", '"{{a}}"'),
]


def read(spec, parameters=PARAMETERS):
    text = yaml.safe_dump({"metadata": {"generateName": "run-"}, "spec": spec})
    return workflow.read(manifest.make(template.load(text.encode()), parameters))


def expanded(spec, parameters=PARAMETERS):
    return containers.of(read(spec, parameters), "run-7")


def box(name="box", **more):
    container = {"image": "img", **more.pop("container", {})}
    return {"name": name, "container": container, **more}


def dag(*tasks, name="main", **more):
    return {"name": name, "dag": {"tasks": list(tasks)}, **more}


def spec(*templates, **more):
    return {"entrypoint": templates[0]["name"], "templates": list(templates), **more}


def edges(found):
    return {each.name: set(each.parents) for each in found}


def refusal(given, parameters=PARAMETERS):
    with pytest.raises(OutsideError) as caught:
        expanded(given, parameters)
    text = str(caught.value)
    assert "\n" not in text
    assert "the runtime `tasks` cannot run this workflow" in text
    return text


def test_one_container_is_a_run():
    (one,) = expanded(
        spec(
            box(
                "train",
                container={
                    "image": "engine:{{workflow.parameters.execution_main-version}}",
                    "command": ["python", "-u"],
                    "args": ["{{ workflow.parameters.execution_id }}", "{{workflow.name}}", 5, True],
                    "env": [{"name": "ID", "value": "x{{workflow.parameters.execution_id}}y"}, {"name": "NONE"}],
                    "resources": {"limits": {"memory": "1Gi"}},
                },
                nodeSelector={"dataPartner": "p1"},
                activeDeadlineSeconds="60",
                volumes=[{"name": "v"}],
            )
        )
    )
    assert one.name == "train"
    assert one.image == "engine:4"
    assert one.command == ("python", "-u")
    assert one.args == ("7", "run-7", "5", "true")
    assert one.env == {"ID": "x7y", "NONE": ""}
    assert one.node_selector == {"dataPartner": "p1"}
    assert one.time_limit == 60.0
    assert one.retries == {}
    assert one.parents == ()


def test_a_federated_run_is_a_server_a_fan_out_and_what_follows():
    found = expanded(
        spec(
            dag(
                {"name": "server", "template": "box"},
                {
                    "name": "clients",
                    "template": "client",
                    "withParam": "{{workflow.parameters.list}}",
                    "arguments": {
                        "parameters": [
                            {"name": "partner", "value": "{{item.data_partner}}"},
                            {"name": "path", "value": "{{item.data_path}}"},
                        ]
                    },
                },
                {"name": "end", "template": "box", "dependencies": ["server", "clients"]},
            ),
            box(),
            box(
                "client",
                inputs={"parameters": [{"name": "partner"}, {"name": "path"}, {"name": "mode", "value": "fast"}]},
                container={
                    "args": ['{"path": {{=toJson(inputs.parameters.path)}}}', "{{inputs.parameters.mode}}"],
                    "env": [{"name": "PATH_", "value": "{{inputs.parameters.path}}"}],
                },
                nodeSelector={"dataPartner": "{{inputs.parameters.partner}}"},
            ),
        )
    )
    assert edges(found) == {
        "server": set(),
        "clients(0)": set(),
        "clients(1)": set(),
        "end": {"server", "clients(0)", "clients(1)"},
    }
    second = next(each for each in found if each.name == "clients(1)")
    assert second.node_selector == {"dataPartner": "p2"}
    assert second.env == {"PATH_": 'b"\\{{x}}'}
    assert json.loads(second.args[0]) == {"path": 'b"\\{{x}}'}
    assert second.args[1] == "fast"


def test_steps_follow_each_other_and_what_they_call_lies_between():
    found = expanded(
        spec(
            {
                "name": "main",
                "steps": [
                    [{"name": "a", "template": "box"}, {"name": "b", "template": "inner"}],
                    [{"name": "none", "template": "box", "withItems": []}],
                    [{"name": "c", "template": "box", "withItems": ["x", {"k": 1}]}],
                ],
            },
            {"name": "inner", "steps": [[{"name": "one", "template": "box"}], [{"name": "two", "template": "box"}]]},
            box(),
        )
    )
    assert edges(found) == {
        "a": set(),
        "b.one": set(),
        "b.two": {"b.one"},
        "c(0)": {"a", "b.two"},
        "c(1)": {"a", "b.two"},
    }


@pytest.mark.parametrize(
    ("items", "texts"),
    [
        (["a", 1, True, 1.5], ["a", "1", "true", "1.5"]),
        ([{"k": [1]}], ['{"k": [1]}']),
        (["{{workflow.parameters.execution_id}}"], ["7"]),
    ],
)
def test_an_item_stands_for_itself(items, texts):
    one = {"name": "each", "template": "box", "withItems": items}
    one["arguments"] = {"parameters": [{"name": "x", "value": "{{item}}"}]}
    given = box(inputs={"parameters": [{"name": "x"}]}, container={"args": ["{{inputs.parameters.x}}"]})
    assert [each.args[0] for each in expanded(spec(dag(one), given))] == texts


def test_inputs_of_the_first_template_are_the_parameters_of_the_workflow():
    given = box(
        inputs={"parameters": [{"name": "execution_id"}]}, container={"args": ["{{inputs.parameters.execution_id}}"]}
    )
    assert expanded(spec(given))[0].args == ("7",)


def test_a_value_is_not_looked_through_for_placeholders():
    assert expanded(spec(box(container={"args": ["{{workflow.parameters.odd}}"]})))[0].args == ('"{{a}}"',)


@pytest.mark.parametrize(
    "name", ["workflow.parameters.odd", "workflow.parameters['odd']", 'workflow.parameters["odd"]']
)
def test_a_value_can_be_quoted_as_json(name):
    text = f'{{"x": {{{{=toJson({name})}}}}}}'
    assert json.loads(expanded(spec(box(container={"args": [text]})))[0].args[0]) == {"x": '"{{a}}"'}


def test_the_exit_handler_knows_how_the_run_ended():
    given = spec(box(), box("bye", container={"args": ["{{workflow.status}}"]}), onExit="bye")
    (last,) = containers.on_exit(read(given), "run-7", "Failed")
    assert (last.name, last.args, last.parents) == ("onExit", ("Failed",), ())
    calling = spec(box(), dag({"name": "a", "template": "box"}, name="bye"), onExit="bye")
    assert [each.name for each in containers.on_exit(read(calling), "run-7", "Failed")] == ["onExit.a"]
    assert containers.on_exit(read(spec(box())), "run-7", "Failed") == []


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"limit": 2}, {"execution.attempts": "3", "timeout.attempts": "3"}),
        ({"limit": "{{workflow.parameters.execution_id}}"}, {"execution.attempts": "8", "timeout.attempts": "8"}),
        ({"limit": 1, "retryPolicy": "OnError"}, {"internal.attempts": "2", "lost.attempts": "2"}),
        (
            {"limit": 0, "retryPolicy": "Always", "backoff": {"duration": "1m", "factor": 2, "maxDuration": "5m"}},
            {
                "execution.attempts": "1",
                "timeout.attempts": "1",
                "internal.attempts": "1",
                "lost.attempts": "1",
                "backoff": "60.000",
                "cap": "300.000",
            },
        ),
        (
            {"limit": 1, "retryPolicy": "OnError", "backoff": {"duration": "500ms"}},
            {"internal.attempts": "2", "lost.attempts": "2", "backoff": "0.500", "cap": "0.500"},
        ),
    ],
)
def test_a_retry_strategy_is_a_retry_policy(strategy, words):
    found = expanded(spec(box(retryStrategy=strategy)))[0].retries
    assert found == {f"orchestrator.retry.{name}": value for name, value in words.items()}


ONE = {"name": "a", "template": "box"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (spec(box(), parallelism=1), "spec: `parallelism` cannot be used"),
        (spec(box(outputs={"parameters": [{"name": "x"}]})), 'template "box": `outputs` cannot be used'),
        (spec(box(inputs={"artifacts": [{"name": "x"}]})), 'template "box", inputs: `artifacts` cannot be used'),
        (spec(box(sidecars=[{"name": "x"}])), "`sidecars` cannot be used"),
        (spec(box(initContainers=[{"name": "x"}])), "`initContainers` cannot be used"),
        (spec({"name": "s", "script": {"image": "x", "source": "y"}}), "`script` cannot be used"),
        (spec({"name": "s", "suspend": {"duration": 1}}), "`suspend` cannot be used"),
        (spec({"name": "s"}), "it needs one of `container`, `dag` and `steps`"),
        (spec(box(dag={"tasks": [ONE]})), "it needs one of"),
        (spec(dag({**ONE, "when": "x == y"}), box()), '"a" of template "main": `when` cannot be used'),
        (spec(dag({**ONE, "continueOn": {"failed": True}}), box()), "`continueOn` cannot be used"),
        (spec(dag({**ONE, "withSequence": {"count": 2}}), box()), "`withSequence` cannot be used"),
        (spec(dag({**ONE, "onExit": "box"}), box()), "`onExit` cannot be used"),
        (spec(dag({**ONE, "arguments": {"artifacts": [{"name": "x"}]}}), box()), "`artifacts` cannot be used"),
        (spec({"name": "m", "dag": {"tasks": [ONE], "failFast": False}}, box()), "`failFast` cannot be used"),
        (spec(box(container={"envFrom": [{"configMapRef": {"name": "x"}}]})), "`envFrom` cannot be used"),
        (spec(box(container={"env": [{"name": "x", "valueFrom": {"a": 1}}]})), "`valueFrom` cannot be used"),
        (spec(box(container={"image": None})), "its container has no `image`"),
        (spec(box(container={"args": ["a\0b"]})), "has no NUL"),
        (spec(box(container={"args": "words"})), "a list is expected"),
        (
            spec(box(container={"args": ["{{tasks.a.outputs.result}}"]})),
            "`{{tasks.a.outputs.result}}` stands for nothing",
        ),
        (spec(box(container={"args": ["{{workflow.parameters.none}}"]})), "stands for nothing here"),
        (spec(box(container={"args": ["{{workflow.status}}"]})), "stands for nothing here"),
        (spec(box(container={"args": ["{{=1 + 1}}"]})), "stands for nothing here"),
        (spec(box(container={"args": ["{{open"]})), "is not closed"),
        (spec(box(inputs={"parameters": [{"name": "x"}]})), 'input "x": it has no value'),
        (
            spec(box(inputs={"parameters": [{"name": "x", "valueFrom": {}}, {"name": "y", "valueFrom": {"a": 1}}]})),
            "valueFrom",
        ),
        (spec(box(retryStrategy={"retryPolicy": "Always"})), "`limit` is missing"),
        (spec(box(retryStrategy={"limit": 1000})), "a whole number from 0 to 999"),
        (spec(box(retryStrategy={"limit": 1, "retryPolicy": "Never"})), "`retryPolicy` is none of"),
        (spec(box(retryStrategy={"limit": 1, "backoff": {"duration": "long"}})), "a duration is expected"),
        (spec(box(retryStrategy={"limit": 1, "backoff": {"duration": 1, "factor": 3}})), "from 1 to 2"),
        (spec(box(activeDeadlineSeconds=0)), "a whole number from 1"),
        (spec(dag(ONE)), 'there is no template "box"'),
        (spec(dag(ONE, ONE), box()), 'two are called "a"'),
        (spec(box(), box()), 'two are called "box"'),
        (spec(dag({**ONE, "dependencies": ["b"]}), box()), 'comes after "b", which is not there'),
        (spec(dag({**ONE, "dependencies": ["a"]}), box()), "each of a would have to come after another"),
        (spec(dag({**ONE, "depends": "b || c"}), box()), "names joined by `&&`"),
        (spec(dag({"name": "a.b", "template": "box"}), box()), '"a.b" is no name'),
        (spec(dag({"name": "again", "template": "main"})), "it calls itself"),
        (spec(dag({"name": "onExit", "template": "box"}), box()), "what the containers of the exit handler are called"),
        (spec(dag()), "it has no container to run"),
        (spec(dag({**ONE, "withParam": "{{workflow.parameters.execution_id}}"}), box()), "comes to no list"),
        (spec(dag({**ONE, "withParam": "{{workflow.name}}"}), box()), "comes to no JSON"),
        (spec(dag({**ONE, "withItems": list(range(1001))}), box()), "1000 are the most"),
        (spec(dag(*({"name": f"a{n}", "template": "box"} for n in range(1001))), box()), "1000 are the most"),
        ({"templates": [box()]}, "`entrypoint` is missing"),
        ({"entrypoint": "box"}, 'there is no template "box"'),
        ({"entrypoint": ["box"], "templates": [box()]}, "spec.entrypoint: there is no template"),
        (spec(box(), onExit="none"), "spec.onExit: there is no template"),
    ],
)
def test_what_lies_outside_is_refused_by_name(given, text):
    assert text in refusal(given)


def test_a_run_that_grows_without_end_is_refused():
    many = list(range(100))
    tower = [dag({"name": "x", "template": f"t{n + 1}", "withItems": many}, name=f"t{n}") for n in range(20)]
    assert "more than" in refusal(spec(*tower, box("t20")))
    empty = [dag({"name": "x", "template": f"t{n + 1}", "withItems": many}, name=f"t{n}") for n in range(20)]
    assert "calls" in refusal(spec(*empty, dag(name="t20")))
    deep = [dag({"name": "x", "template": f"t{n + 1}"}, name=f"t{n}") for n in range(40)]
    assert "deeper than 30 levels" in refusal(spec(*deep, box("t40")))
    wide = [{"name": "s", "steps": [[{"name": f"a{n}", "template": "box", "withItems": many * 4}] for n in range(2)]}]
    assert "ties between" in refusal(spec(*wide, box()))


def test_what_a_container_is_told_has_an_end():
    long = [("long", "x" * 1024 * 1024)]
    assert "is longer than" in refusal(spec(box(container={"args": ["{{workflow.parameters.long}}"] * 5})), long)
    bomb = spec(box(container={"args": ["{{workflow.parameters.long}}" * 20_000]}))
    assert "too long, in all that comes of the workflow" in refusal(bomb, long)
    given = [{"name": f"x{n}", "value": "{{workflow.parameters.long}}"} for n in range(200)]
    calls = spec(dag({"name": "a", "template": "box", "arguments": {"parameters": given}}), box())
    assert "too long, in all that comes of the workflow" in refusal(calls, long)


@st.composite
def specs(draw):
    """A workflow of a few templates that call those after them."""
    count = draw(st.integers(1, 4))
    templates = []
    for place in range(count):
        inner = [f"t{n}" for n in range(place + 1, count)] + ["leaf"]
        names = [f"c{n}" for n in range(draw(st.integers(1, 4)))]
        calls = []
        for number, name in enumerate(names):
            call = {"name": name, "template": draw(st.sampled_from(inner))}
            over = draw(st.sampled_from([None, "items", "param"]))
            if over == "items":
                call["withItems"] = draw(
                    st.lists(st.integers() | st.text("ab{}", max_size=2), max_size=3).filter(_closed)
                )
            if over == "param":
                call["withParam"] = "{{workflow.parameters.list}}"
            value = "{{item}}" if over else draw(st.sampled_from(["plain", "{{workflow.parameters.execution_id}}"]))
            call["arguments"] = {"parameters": [{"name": "x", "value": value}]}
            call["dependencies"] = draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
            calls.append(call)
        draw(st.randoms()).shuffle(calls)
        templates.append(dag(*calls, name=f"t{place}"))
    leaf = box(
        "leaf",
        inputs={"parameters": [{"name": "x"}]},
        container={"args": ["{{inputs.parameters.x}}", "{{workflow.name}}"]},
    )
    return spec(*templates, leaf)


def _closed(items):
    return not any("{{" in item for item in items if isinstance(item, str))


@given(specs())
def test_a_run_is_acyclic_its_names_unique_and_its_placeholders_replaced(given_spec):
    try:
        found = expanded(given_spec, [("execution_id", "7"), ("list", '["{", 2]')])
    except OutsideError as error:
        assert "no container" in str(error)  # noqa: PT017 - nothing else may be wrong with it
        return
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    for place, each in enumerate(found):
        assert set(each.parents) <= set(names[:place])
        assert len(set(each.parents)) == len(each.parents)
        assert not any("{{" in text for text in each.args)
        assert each.args[1] == "run-7"
