"""Templates of workflows: a file of YAML whose maker is not trusted, read into what JSON can say."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from orchestrator.executions.errors import WholeError

LARGEST = 1024 * 1024
"""Bytes; servers of workflows take no more."""

_MOST_NODES = 100_000
_DEEPEST = 100


class TemplateError(WholeError):
    """A schema's file is no workflow.

    Args:
        what: is wrong, and where, in one line.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"the schema's auxiliary file is no workflow: {what}")
        self.what = what


def load(data: bytes) -> Mapping[str, Any]:
    """Return a template as texts, numbers, truths, null, lists and mappings whose keys are texts.

    Args:
        data: of the file: one document of YAML, and in it a mapping with the mapping `spec`, of no other kind than
            Workflow, whose metadata a cluster would take.

    Raises:
        TemplateError: it is none, or more than is read.
    """
    if len(data) > LARGEST:
        raise TemplateError(f"it has {len(data)} bytes, and {LARGEST} are the most")
    try:
        _measure(data)
        # The loader builds nothing but what JSON can say.
        template = yaml.load(data, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise TemplateError(_line(error)) from error
    if not isinstance(template, dict):
        raise TemplateError("it is no mapping of YAML")
    if not isinstance(template.get("spec"), dict):
        raise TemplateError("it has no mapping `spec`")
    _check_head(template)
    return template


_KIND = "Workflow"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_BEGINNING = re.compile(r"[a-z0-9][-a-z0-9.]*")
_LABEL = re.compile(r"([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _check_head(template: Mapping[str, Any]) -> None:
    """Check what a template says it is, and how it is called: by Kubernetes' rules for names and labels.

    Raises:
        TemplateError: a cluster would not take it for a workflow.
    """
    kind, version = template.get("kind"), template.get("apiVersion")
    if kind not in (None, _KIND):
        raise TemplateError(
            f"its kind is {kind}, and only {_KIND} is run" if isinstance(kind, str) else "`kind`: no text"
        )
    if version is not None and not isinstance(version, str):
        raise TemplateError("`apiVersion`: no text")
    metadata = template.get("metadata")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise TemplateError("`metadata`: no mapping")
    for field, pattern in (("name", _NAME), ("generateName", _BEGINNING)):
        value = metadata.get(field)
        if value and not (isinstance(value, str) and pattern.fullmatch(value)):
            raise TemplateError(f"`metadata.{field}`: a name has small letters a to z, digits, - and .")
    for field in ("labels", "annotations"):
        given = metadata.get(field)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise TemplateError(f"`metadata.{field}`: no mapping")
        for name, value in given.items():
            if value is not None and not isinstance(value, str):
                raise TemplateError(f"`metadata.{field}`: the value of {name} is no text; put it in quotes")
            if field == "labels" and not (_LABEL.fullmatch(name) and _VALUE.fullmatch(value or "")):
                raise TemplateError(f"`metadata.labels`: {name}, or its value, is none that a label may have")


_MERGE = "<<"


@dataclass
class _Open:
    """A list or a mapping that is not whole yet.

    Args:
        anchor: that it has, if any.
        before: how many nodes came before it.
        deepest: the level of the deepest node in it so far.
        keys: of a mapping, those that it has so far; None of a list.
        awaits_key: whether a mapping's next node is a key.
    """

    anchor: str | None
    before: int
    deepest: int
    keys: set[str] | None
    awaits_key: bool = True

    def take(self, event: yaml.NodeEvent) -> None:
        """Note that a node begins in it.

        Raises:
            TemplateError: it is a key that is there already: of two values one would be left out without a word.
        """
        if self.keys is None:
            return
        # What is merged into a mapping may come from several places.
        if self.awaits_key and isinstance(event, yaml.ScalarEvent) and event.value != _MERGE:
            if event.value in self.keys:
                raise TemplateError(f"the key {event.value} is there a second time, {_where(event)}")
            self.keys.add(event.value)
        self.awaits_key = not self.awaits_key


def _measure(data: bytes) -> None:
    """Check what a file comes to, before anything is built of it: an alias counts as much as what it stands for.

    Raises:
        TemplateError: that is too much, too deep, without an end, or the same key twice.
        YAMLError: it is no YAML.
    """
    nodes = 0
    known: dict[str, tuple[int, int]] = {}
    """Of what has an anchor and is whole: how many nodes it has, and how many levels."""
    within: list[_Open] = []
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        level = len(within) + 1
        if within and isinstance(event, yaml.NodeEvent):
            within[-1].take(event)
        if isinstance(event, yaml.CollectionStartEvent):
            within.append(
                _Open(event.anchor, nodes, level, set() if isinstance(event, yaml.MappingStartEvent) else None)
            )
            # Of two things of one name an alias would stand for the one that it lies in.
            known.pop(event.anchor or "", None)
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            whole = within.pop()
            level = whole.deepest
            if whole.anchor:
                known[whole.anchor] = nodes - whole.before, whole.deepest - len(within)
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                known[event.anchor] = 1, 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise TemplateError(f"*{event.anchor} stands for nothing, or for what it lies in, {_where(event)}")
            count, levels = known[event.anchor]
            nodes += count
            level += levels - 1
        else:
            continue
        if nodes > _MOST_NODES:
            raise TemplateError(f"with what its aliases stand for it has more than {_MOST_NODES} values")
        if level > _DEEPEST:
            raise TemplateError(f"it is deeper than {_DEEPEST} levels, {_where(event)}")
        if within:
            within[-1].deepest = max(within[-1].deepest, level)


def _where(event: yaml.Event) -> str:
    mark = event.start_mark
    return f"in line {mark.line + 1}" if mark else ""


def _line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = ", ".join(text for text in (error.context, error.problem) if text)
        return words + (f", in line {mark.line + 1}" if mark else "")
    return " ".join(str(error).split())


class _Loader(yaml.CSafeLoader):
    """Builds what JSON can say: a date stays the text that it is, and so does what only old YAML takes for a number."""


_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)$")
_REAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$")
_TAGS = "tag:yaml.org,2002:"
_LATER = {_TAGS + "int": ("-+0123456789", _INTEGER), _TAGS + "float": ("-+.0123456789", _REAL)}


def _resolvers() -> Iterator[tuple[str, list[tuple[str, re.Pattern[str]]]]]:
    replaced = {*_LATER, _TAGS + "timestamp"}
    known = yaml.SafeLoader.yaml_implicit_resolvers
    for first in {*known, *"-+.0123456789"}:
        kept = [(tag, pattern) for tag, pattern in known.get(first, []) if tag not in replaced]
        # An integer first: it is what a real number without its point would be.
        yield first, [*kept, *((tag, pattern) for tag, (firsts, pattern) in _LATER.items() if first in firsts)]


def _mapping(loader: _Loader, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _refused(node, "this is no mapping")
    loader.flatten_mapping(node)
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refused(key, "a key is no text; a value that begins with `{{` needs quotes")
        found[str(key.value)] = loader.construct_object(value, deep=True)
    return found


def _list(loader: _Loader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise _refused(node, "this is no list")
    return [loader.construct_object(each, deep=True) for each in node.value]


def _scalar(name: str) -> Callable[[_Loader, yaml.Node], Any]:
    build = getattr(yaml.CSafeLoader, f"construct_yaml_{name}")

    def construct(loader: _Loader, node: yaml.Node) -> Any:
        try:
            value = build(loader, node)
        except (ValueError, KeyError) as error:
            raise _refused(node, f"this is no {name}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(node, "this number is not finite")
        return value

    return construct


def _other(_: _Loader, node: yaml.Node) -> Any:
    raise _refused(node, f"the tag {node.tag} is not known")


def _refused(node: yaml.Node, problem: str) -> ConstructorError:
    return ConstructorError(None, None, problem, node.start_mark)


_Loader.yaml_implicit_resolvers = dict(_resolvers())
_Loader.yaml_constructors = {
    None: _other,
    _TAGS + "map": _mapping,
    _TAGS + "seq": _list,
    **{_TAGS + name: _scalar(name) for name in ("str", "int", "float", "bool", "null")},
}
