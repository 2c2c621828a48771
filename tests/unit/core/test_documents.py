"""YAML that is read strictly: text stays text, nothing is there twice, and an error names a line and no value."""

import traceback

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.core.documents import DocumentError, read

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@given(st.dictionaries(KEYS, st.lists(KEYS, unique=True, max_size=4), max_size=4))
def test_what_is_written_is_read(content):
    document = read(yaml.safe_dump(content, allow_unicode=True).encode(), "file")
    assert {key: list(entry.members()) for key, entry in document.mapping().items()} == content


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
@example(b'a: "\\UFFFFFFFF"')
@example(b'a: "\\U00110000"')
@example(b"%YAML 1." + b"9" * 5000 + b"\n--- a")
@example(b"a: *b")
@example(b"a: &b\nb: &b")
@example(b"a: b\n\0")
@example(b"\xff\xfe\0")
def test_whatever_is_read_either_works_or_is_an_error_of_one_line(content):
    said = "file, line 1: "
    try:
        for entry in read(content, "file", aliases=True).mapping().values():
            entry.text()
    except DocumentError as error:
        said = str(error)
    assert said.startswith("file, line ")
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [b]\na: [c]", 2, "a second time"),
        ("a: [b, c, b]", 1, "a second time"),
        ("a:\n- b\n- c\n- b", 4, "a second time"),
        ("\n\na: [0123]", 3, "in quotes"),
        ("a: [no]", 1, "in quotes"),
        ("a: [1.5]", 1, "in quotes"),
        ("a: [2026-11-26]", 1, "in quotes"),
        ("a: [~]", 1, "in quotes"),
        ("a: ['']", 1, "text is expected"),
        ("a: [{b: c}]", 1, "text is expected"),
        ("a: b", 1, "a list, as in"),
        ("a:", 1, "a list, as in"),
        ("1: [b]", 1, "in quotes"),
        ("? [a]\n: b", 1, "text is expected"),
        ("- a", 1, "keys and values"),
        ("just text", 1, "keys and values"),
        ("a: [b", 1, "this is no YAML; a comma or a closing bracket is expected, here or before"),
        ("\ta: [b]", 1, "this is no YAML; spaces are expected where a tab is"),
        ("a: secret: b", 1, "this is no YAML; quotes are expected around a text with a colon"),
        ("a: b\nc\nd: e", 3, "this is no YAML; a colon is expected after the key"),
        ("a:\n  - b\n c: d", 3, "this is no YAML; an entry is expected to begin where those beside it begin"),
        ("a: 'b", 1, "this is no YAML; a closing quote is expected before the end"),
        ('\na: "\\UFFFFFFFF"', 2, "this is no YAML"),
        ("a: &x [b]\nc: *x", 2, "an alias"),
        ("a: &x [*x]", 1, "an alias"),
        ("<<: {a: [b]}", 1, "in quotes"),
        ("a: [b]\n---\na: [c]", 2, "this is no YAML"),
        ("\n" + "[" * 5000, 2, "nested too deep"),
        ("a:\n- \0", 2, "a character"),
        (b"a:\n- \xff", 2, "UTF-8"),
    ],
)
def test_what_is_no_strict_yaml_is_refused_with_its_line(text, line, words):
    with pytest.raises(DocumentError) as caught:
        read(text if isinstance(text, bytes) else text.encode(), "policy.yaml").mapping("a")["a"].members()
    assert str(caught.value).startswith(f"policy.yaml, line {line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: 5ecret",
        "a: redis://5ecret@host: x",
        "a: [5ecret, 5ecret]",
        "a: [b]\n5ecret: [b]",
        "{a:5ecret, a:5ecret}",
        "a: *5ecret",
        "a: [05, 5ecret",
        "a: !5ecret x",
        "a: !5ecret!x x",
        "%5ecret\n--- a",
        'a: "5ecret',
        'a: "\\5ecret"',
    ],
)
def test_an_error_repeats_nothing_of_a_file(text):
    for aliases in (False, True):
        with pytest.raises(DocumentError) as caught:
            read(text.encode(), "file", aliases=aliases).mapping("a")["a"].members()
        assert "5ecret" not in "".join(traceback.format_exception(caught.value)), "nor what caused it"


def test_a_key_that_is_not_known_is_refused_and_the_one_that_was_meant_is_named():
    document = read(b"\norganisations: [a]", "policy.yaml")
    with pytest.raises(DocumentError, match=r"policy.yaml, line 2: .*did you mean 'organizations'\?"):
        document.mapping("organizations", "functions")
    with pytest.raises(DocumentError, match="expected one of organizations, functions"):
        read(b"xyz: [a]", "policy.yaml").mapping("organizations", "functions")


def test_an_empty_file_says_nothing():
    for text in (b"", b"# a comment\n"):
        assert not read(text, "file")
        assert read(text, "file").mapping() == {}
    assert read(b"{}", "file")


def test_what_is_not_there_is_as_empty_and_no_text():
    absent = read(b"{}", "file").mapping("a")["a"]
    assert not absent
    assert (absent.mapping(), absent.entries(), absent.members()) == ({}, [], {})
    with pytest.raises(DocumentError, match="file, line 1: text is expected"):
        absent.text()


def test_a_value_may_be_meant_twice_where_that_is_said():
    found = read(b"a: &x [b, b]\nc: *x", "file", aliases=True).mapping()
    assert [entry.text() for entry in found["c"].entries()] == ["b", "b"]
