"""YAML as people write settings in it: text stays text, nothing is given twice, and a fault names its line.

YAML takes `0123` for a number, `no` for False, and the second of two equal keys for the only one. Here each of them is
refused: who decides by a file what others may do must be able to trust that it says what was read.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import yaml

_TEXT = "tag:yaml.org,2002:str"
_DEEPEST = 50


class YamlFault(ValueError):  # noqa: N818 - one of ours, in words for the person who wrote the file
    """What is wrong in a file, where, and what is expected: one line."""


def read(text: str, name: str) -> "Section":
    """Return what a file says.

    Args:
        text: its content; an empty one is an empty section.
        name: the file's, for faults.

    Raises:
        YamlFault: it is no YAML, or no section of keys and values.
    """
    try:
        _check_depth(text, name)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _fault(name, mark.line if mark else 0, f"{error.problem or error.context}; YAML is expected") from error
    except yaml.YAMLError as error:
        raise YamlFault(f"{name}: it is no text in YAML: {str(error).partition(chr(10))[0]}") from error
    if root is None:
        return Section(name, {})
    return Section(name, _pairs(root, name))


class Section:
    """Keys and values of one level of a file.

    Args:
        name: the file's.
        pairs: key -> the node of its value.
    """

    def __init__(self, name: str, pairs: Mapping[str, tuple[int, yaml.Node]]) -> None:
        self._name = name
        self._pairs = pairs

    def check(self, *known: str) -> None:
        """Check that there is no other key.

        Raises:
            YamlFault: there is; it says which one may have been meant.
        """
        for key, (line, _) in self._pairs.items():
            if key not in known:
                close = get_close_matches(key, known, 1)
                meant = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
                raise _fault(self._name, line, f"the key {key!r} is not known; {meant}")

    def text(self, key: str, default: str) -> str:
        """Return a text, the default where the key is absent."""
        return _text(self._pairs[key][1], self._name, f"of {key}") if key in self._pairs else default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, none where the key is absent.

        Raises:
            YamlFault: it is no list, a member is no text, or is given twice.
        """
        if key not in self._pairs:
            return ()
        _, node = self._pairs[key]
        if not isinstance(node, yaml.SequenceNode):
            raise _fault(self._name, node.start_mark.line, f"{key}: a list of texts is expected, as in {key}: [a, b]")
        found: list[str] = []
        for member in node.value:
            text = _text(member, self._name, f"in {key}")
            if text in found:
                raise _fault(self._name, member.start_mark.line, f"{key}: {text!r} is given twice; once is expected")
            found.append(text)
        return tuple(found)

    def section(self, key: str) -> "Section":
        """Return the section below a key, an empty one where the key is absent."""
        if key not in self._pairs:
            return Section(self._name, {})
        return Section(self._name, _pairs(self._pairs[key][1], self._name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def fault(self, key: str, words: str) -> YamlFault:
        """Return the fault of a key's value.

        Args:
            key: the key; it is there.
            words: what is wrong, and what is expected.
        """
        return _fault(self._name, self._pairs[key][1].start_mark.line, f"{key}: {words}")


def _pairs(node: yaml.Node, name: str) -> dict[str, tuple[int, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _fault(name, node.start_mark.line, "keys and values are expected, as in key: value")
    found: dict[str, tuple[int, yaml.Node]] = {}
    for key, value in node.value:
        text = _text(key, name, "as a key")
        if text in found:
            raise _fault(name, key.start_mark.line, f"the key {text!r} is given twice; once is expected")
        found[text] = key.start_mark.line, value
    return found


def _text(node: yaml.Node, name: str, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _fault(name, node.start_mark.line, f"a text is expected {where}")
    if node.tag != _TEXT:
        raise _fault(
            name,
            node.start_mark.line,
            f"a text is expected {where}; YAML does not read {node.value!r} as one: quote it",
        )
    return str(node.value)


def _check_depth(text: str, name: str) -> None:
    # Composing is recursive, and parsing is not.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise _fault(name, line, f"the alias *{event.anchor} is refused; write out what is meant")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _fault(name, line, "it is nested too deeply; keys and values, or lists of texts, are expected")


def _fault(name: str, line: int, words: str) -> YamlFault:
    return YamlFault(f"{name}, line {line + 1}: {words}")
