"""YAML that is read strictly: text stays text, nothing is given twice, and a fault names its line."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.strict_yaml import YamlFault, read

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)


@given(st.dictionaries(KEYS, st.lists(KEYS, unique=True, max_size=4), max_size=4))
def test_what_is_written_is_read(content):
    section = read(yaml.safe_dump(content, allow_unicode=True), "file")
    assert {key: list(section.texts(key)) for key in section} == content


@given(st.text(max_size=200))
def test_whatever_is_read_either_works_or_is_a_fault_of_one_line(text):
    said = ""
    try:
        section = read(text, "file")
        for key in section:
            section.text(key, "")
    except YamlFault as fault:
        said = str(fault)
    assert not said or said.startswith("file")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [b]\na: [c]", 2, "the key 'a' is given twice"),
        ("a: [b, c, b]", 1, "'b' is given twice"),
        ("\n\na: [0123]", 3, "quote it"),
        ("a: [no]", 1, "quote it"),
        ("a: [1.5]", 1, "quote it"),
        ("a: [2026-11-26]", 1, "quote it"),
        ("a: [~]", 1, "quote it"),
        ("a: [{b: c}]", 1, "a text is expected"),
        ("a: b", 1, "a list of texts is expected"),
        ("1: [b]", 1, "quote it"),
        ("? [a]\n: b", 1, "a text is expected as a key"),
        ("- a", 1, "keys and values are expected"),
        ("just text", 1, "keys and values are expected"),
        ("a: [b", 1, "YAML is expected"),
        ("a: &x [b]\nc: *x", 2, "alias"),
        ("<<: {a: [b]}", 1, "quote it"),
        ("a: [b]\n---\na: [c]", 2, "YAML is expected"),
        ("[" * 5000, 1, "nested too deeply"),
    ],
)
def test_what_is_no_strict_yaml_is_refused_with_its_line(text, line, words):
    with pytest.raises(YamlFault) as caught:
        read(text, "policy.yaml").texts("a")
    assert f"line {line}: " in str(caught.value)
    assert words in str(caught.value)


def test_a_key_that_is_not_known_is_refused_and_the_one_that_was_meant_is_named():
    section = read("organisations: [a]", "policy.yaml")
    with pytest.raises(YamlFault, match=r"policy.yaml, line 1: .*'organisations'.*did you mean 'organizations'\?"):
        section.check("organizations", "functions")
    with pytest.raises(YamlFault, match="expected one of organizations, functions"):
        read("xyz: [a]", "policy.yaml").check("organizations", "functions")


def test_an_empty_file_says_nothing():
    for text in ("", "# a comment\n", "{}"):
        assert list(read(text, "file")) == []
