import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.executions.templates import template
from orchestrator.executions.templates.template import TemplateError

WORKFLOW = b"""
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: tumour-}
spec:
  entrypoint: main
  templates: []
"""


def refusal(data):
    with pytest.raises(TemplateError) as caught:
        template.load(data)
    text = str(caught.value)
    assert "\n" not in text
    return text


def spec(text):
    return template.load(f"spec:\n  {text}".encode())["spec"]


def test_a_workflow_is_loaded_as_it_stands():
    assert template.load(WORKFLOW) == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "tumour-"},
        "spec": {"entrypoint": "main", "templates": []},
    }


HEADS = {
    "a cron workflow": ("kind: CronWorkflow", "its kind is CronWorkflow, and only Workflow is run"),
    "a template": ("kind: WorkflowTemplate", "its kind is WorkflowTemplate"),
    "in small letters": ("kind: workflow", "its kind is workflow"),
    "no kind's text": ("kind: [Workflow]", "`kind`: no text"),
    "a version that is none": ("apiVersion: 1", "`apiVersion`: no text"),
    "metadata that are a list": ("metadata: []", "`metadata`: no mapping"),
    "metadata that are a text": ("metadata: tumour", "`metadata`: no mapping"),
    "a name that is a number": ("metadata: {generateName: 1}", "`metadata.generateName`: a name has"),
    "a name with capitals": ("metadata: {name: Tumour}", "`metadata.name`: a name has"),
    "a name that ends with a dash": ("metadata: {name: a-}", "`metadata.name`: a name has"),
    "labels that are a text": ("metadata: {labels: a}", "`metadata.labels`: no mapping"),
    "labels that are a list": ("metadata: {labels: [a]}", "`metadata.labels`: no mapping"),
    "a label that is a number": ("metadata: {labels: {a: 1}}", "`metadata.labels`: the value of a is no text"),
    "a label with a space": ("metadata: {labels: {a: b c}}", "`metadata.labels`: a, or its value"),
    "a label of no name": ('metadata: {labels: {"": a}}', "`metadata.labels`: , or its value"),
    "an annotation that is a list": ("metadata: {annotations: {a: []}}", "`metadata.annotations`: the value of a"),
}


@pytest.mark.parametrize(("head", "reason"), HEADS.values(), ids=HEADS)
def test_a_head_that_no_cluster_takes_is_refused(head, reason):
    assert reason in refusal(f"{head}\nspec: {{}}\n".encode())


def test_heads_that_a_cluster_takes():
    for head in (
        "kind: Workflow",
        "kind:",
        "metadata:",
        "metadata: {generateName: a-1., labels: , annotations: {}}",
        "metadata: {name: a, labels: {a.example/x_y: '', b: A-1, c: }, annotations: {'any thing': 'any thing'}}",
    ):
        assert template.load(f"{head}\nspec: {{}}\n".encode())["spec"] == {}


def test_anchors_and_merges_are_resolved():
    text = "{a: &one {image: x, args: [1]}, b: *one, c: {<<: *one, image: y}}"
    assert spec(f"x: {text}")["x"] == {
        "a": {"image": "x", "args": [1]},
        "b": {"image": "x", "args": [1]},
        "c": {"image": "y", "args": [1]},
    }
    # What is merged counts less than what stands there, and may come from two places.
    assert spec("x: [&a {k: 1}, &b {l: 2}, {<<: *a, <<: *b, k: k}]")["x"][2] == {"k": "k", "l": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-26", "2026-11-26"),
        ("22:30", "22:30"),
        ("1e3", "1e3"),
        ("1.0e3", 1000.0),
        ("1.5", 1.5),
        ("017", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("+.5", 0.5),
        (".inf", ".inf"),
        ("1.4.2", "1.4.2"),
        ("~", None),
        ("true", True),
        ("!!str 5", "5"),
        ('"\\0"', "\0"),
    ],
)
def test_a_value_is_what_json_can_say(text, value):
    assert spec(f"x: {text}")["x"] == value


def test_a_key_is_a_text():
    assert spec("x: {1: a, true: b, 2026-01-01: c, ~: d}")["x"] == {"1": "a", "true": "b", "2026-01-01": "c", "~": "d"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is no mapping of YAML"),
        (b"\0\xff\xfe", "control characters are not allowed"),
        (b"\x80 spec", "invalid leading UTF-8 octet"),
        (b"just words", "it is no mapping of YAML"),
        (b"- spec", "it is no mapping of YAML"),
        (b"kind: Workflow", "it has no mapping `spec`"),
        (b"spec: null", "it has no mapping `spec`"),
        (b"spec: []", "it has no mapping `spec`"),
        (b"spec: {}\n---\nspec: {}", "line 2"),
        (b"spec:\n  - a\n b: c", "line 3"),
        (b"spec: {x: {{workflow.parameters.y}}}", "needs quotes, in line 1"),
        (b"spec: {x: 1}\nkind: Workflow\nspec: {}", "the key spec is there a second time, in line 3"),
        (b"spec:\n  x: {args: [a], '1': b,\n  1: c}", "the key 1 is there a second time, in line 3"),
        (b"a: &a {b: 1}\nspec: {x: *a, y: {z: *a}, x: 1}", "the key x is there a second time, in line 2"),
        (b"spec: &a {x: *a}", "*a stands for nothing, or for what it lies in, in line 1"),
        (b"spec: {x: *b}", "*b stands for nothing"),
        (b"a: &x 1\nspec: &x {y: *x}", "*x stands for nothing, or for what it lies in"),
        (b"a: &x 1\nspec: {y: &x 2}", "found duplicate anchor"),
        (b"spec: !!python/object/apply:os.system [id]", "is not known, in line 1"),
        (b"spec: {x: !!binary aGk=}", "is not known"),
        (b"spec: {x: !!bool perhaps}", "this is no bool, in line 1"),
        (b"spec: {x: !!int [1]}", "line 1"),
        (b"spec: {x: !!seq {a: 1}}", "this is no list"),
        (b"spec: !!map text", "this is no mapping"),
        (b"spec: {x: 1.0e999}", "not finite"),
        (b"spec: {x: " + b"9" * 5000 + b"}", "this is no int"),
        (b"spec: " + b"[" * 200 + b"]" * 200, "deeper than 100 levels"),
        (b"#" * (template.LARGEST + 1), "are the most"),
        (b"spec: [" + b"a," * 200_000 + b"]", "more than 100000 values"),
    ],
)
def test_what_is_no_workflow_is_refused(data, text):
    assert text in refusal(data)


def test_a_bomb_of_aliases_is_refused_before_it_goes_off():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    begun = time.process_time()
    assert "more than 100000 values" in refusal("\n".join([*lines, "spec: {x: *a29}"]).encode())
    assert time.process_time() - begun < 5


def test_a_tower_of_aliases_is_refused():
    floors = [f"a{n}: &a{n} {'[' * 30}{f'*a{n - 1}' if n else 'x'}{']' * 30}" for n in range(30)]
    assert "deeper than 100 levels" in refusal("\n".join([*floors, "spec: {}"]).encode())


@given(st.binary(max_size=200))
def test_no_bytes_give_anything_but_a_mapping_or_a_refusal(data):
    with contextlib.suppress(TemplateError):
        assert template.load(b"spec: {x: 1}\ny: " + data)["spec"] == {"x": 1}


# What JSON escapes as a pair of two, YAML does not know; and 1e-5 is a text, as arguments of containers are.
_TEXT = st.text(st.characters(max_codepoint=0xD7FF))
# Nor is what is longer than 1,024 characters a key, as it is written.
_KEY = st.text(st.characters(max_codepoint=0xD7FF), max_size=150)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: "." in repr(number))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEY, inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_json_is_read_as_the_json_that_it_is(value):
    assert spec(f"x: {json.dumps(value)}")["x"] == value
