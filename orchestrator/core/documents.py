"""YAML that people decide by: text stays text, nothing is there twice, and what is wrong is named by its line.

YAML reads `0123` as the number 83, `no` as false, and of two equal keys it keeps the last: in a file that says who may
do what, nobody should have to know that. Of a file an error repeats nothing but its name: it may hold passwords.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import yaml

_TEXT = "tag:yaml.org,2002:str"
_FLAGS = {"true": True, "false": False}
_DEEPEST = 50
_SLIPS: Mapping[str, str] = {
    "character '\\t'": "spaces are expected where a tab is",
    "expected ',' or": "a comma or a closing bracket is expected, here or before",
    "mapping values are not allowed": "quotes are expected around a text with a colon, and a line for each key",
    "could not find expected ':'": "a colon is expected after the key, here or in the line before",
    "expected <block end>": "an entry is expected to begin where those beside it begin",
    "end of stream": "a closing quote is expected before the end",
}
"""What YAML says of a slip, in part, and what is expected there."""


class DocumentError(ValueError):
    """A document is not what it should be: one line that names the file, the line in it, and what is expected."""


class Entry:
    """A part of a document.

    Args:
        node: what YAML makes of it; None where nothing is there.
        file: the document's name, for errors.
    """

    def __init__(self, node: yaml.Node | None, file: str) -> None:
        self._node = node
        self._file = file

    def __bool__(self) -> bool:
        return self._node is not None

    def mapping(self, *known: str) -> Mapping[str, "Entry"]:
        """Return the entries of a mapping; none where nothing is there.

        Args:
            known: the keys that it may have, each of which is returned; by default it may have any.

        Raises:
            DocumentError: it is no mapping; a key is no text, is there twice, or is not known.
        """
        found: dict[str, Entry] = {}
        if self:
            if not isinstance(self._node, yaml.MappingNode):
                raise self.error("keys and values, as in key: value, are expected here")
            pairs = [(Entry(key, self._file), Entry(value, self._file)) for key, value in self._node.value]
            for key, _ in pairs:
                if known and key.text() not in known:
                    close = get_close_matches(key.text(), known, 1)
                    meant = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
                    raise key.error(f"this key is not known; {meant}")
            found = _each_once(pairs)
        return {**{key: Entry(None, self._file) for key in known}, **found}

    def entries(self) -> list["Entry"]:
        """Return the entries of a list; none where nothing is there.

        Raises:
            DocumentError: it is no list.
        """
        if not self:
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error("a list, as in [value, …], is expected here")
        return [Entry(node, self._file) for node in self._node.value]

    def members(self) -> Mapping[str, "Entry"]:
        """Return the entries of a list of texts, by their text.

        Raises:
            DocumentError: it is no list; an entry is no text, or is there twice.
        """
        return _each_once((entry, entry) for entry in self.entries())

    def text(self) -> str:
        """Return a text that is not empty.

        Raises:
            DocumentError: it is something else, as a number without quotes.
        """
        node = self._node
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT or not node.value:
            raise self.error("text is expected here; put what looks like a number, a date or yes and no in quotes")
        return str(node.value)

    def flag(self) -> bool:
        """Return whether true is written here; False where nothing is.

        Raises:
            DocumentError: it is neither `true` nor `false`.
        """
        if not self:
            return False
        node = self._node
        if not isinstance(node, yaml.ScalarNode) or node.style is not None or node.value not in _FLAGS:
            raise self.error("true or false is expected here")
        return _FLAGS[node.value]

    def error(self, message: str) -> DocumentError:
        """Return an error that says where this entry is."""
        return _error(self._file, self._node.start_mark.line if self._node is not None else 0, message)


def read(content: bytes, file: str, *, aliases: bool = False) -> Entry:
    """Return a document.

    Args:
        content: YAML.
        file: its name, for errors.
        aliases: whether a value may be written once, and be meant in other places too.

    Raises:
        DocumentError: it is no YAML, more than one document, or nested too deep.
    """
    loader: yaml.SafeLoader | None = None
    try:
        text = content.decode()
        loader = yaml.SafeLoader(text)
        # Composing is recursive, and parsing is not.
        depth = 0
        while loader.check_event():
            event = loader.get_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line if event.start_mark else 0
            if isinstance(event, yaml.AliasEvent) and not aliases:
                raise _error(file, line, "an alias, *name, is refused here; write out what is meant")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise _error(file, line, "this is nested too deep; a list of texts is the most")
        return Entry(yaml.compose(text, Loader=yaml.SafeLoader), file)
    except DocumentError:
        raise
    except UnicodeDecodeError as error:
        raise _error(file, content.count(b"\n", 0, error.start), "this is no text in UTF-8") from None
    except yaml.reader.ReaderError as error:
        raise _error(file, text.count("\n", 0, error.position), "there is a character that YAML refuses") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # YAML's own message would show the text of the line, and in it a password. Some of its faults say no line.
        mark = getattr(error, "problem_mark", None) or loader
        raise _error(file, mark.line if mark else 0, f"this is no YAML{_expected(error)}") from None


def _expected(error: Exception) -> str:
    """Return what is expected in the place of some slips; in our words, as YAML's may have those of the file."""
    problem = str(getattr(error, "problem", None))
    return next((f"; {words}" for part, words in _SLIPS.items() if part in problem), "")


def _each_once(pairs: Iterable[tuple[Entry, Entry]]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for name, entry in pairs:
        if name.text() in found:
            raise name.error("this is there a second time; once is expected")
        found[name.text()] = entry
    return found


def _error(file: str, line: int, message: str) -> DocumentError:
    return DocumentError(f"{file}, line {line + 1}: {message}")
