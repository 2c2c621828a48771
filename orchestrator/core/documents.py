"""YAML documents of which every entry is text: read strictly, and refused with the line that is wrong.

YAML reads `0123` as the number 83, `no` as false, and of two equal keys it keeps the last: in a file that says who may
do what, nobody should have to know that.
"""

from collections.abc import Mapping

import yaml

_TEXT = "tag:yaml.org,2002:str"


class DocumentError(ValueError):
    """A document is not what it should be; the message names the file and the line, and repeats no value."""


class Entry:
    """A part of a document.

    Args:
        node: what YAML makes of it; None of an empty document.
        file: the document's name, for errors.
    """

    def __init__(self, node: yaml.Node | None, file: str) -> None:
        self._node = node
        self._file = file

    def mapping(self) -> Mapping[str, "Entry"]:
        """Return the entries of a mapping.

        Raises:
            DocumentError: it is no mapping, a key is no text or is there twice.
        """
        if not isinstance(self._node, yaml.MappingNode):
            raise self.error("a mapping, key: value, is expected here")
        found: dict[str, Entry] = {}
        for key, value in self._node.value:
            name = Entry(key, self._file)
            if name.text() in found:
                raise name.error(f"{name.text()!r} is there a second time")
            found[name.text()] = Entry(value, self._file)
        return found

    def entries(self) -> list["Entry"]:
        """Return the entries of a list.

        Raises:
            DocumentError: it is no list.
        """
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error("a list, [value, …], is expected here")
        return [Entry(node, self._file) for node in self._node.value]

    def texts(self) -> list[str]:
        """Return the texts of a list.

        Raises:
            DocumentError: it is no list, or an entry is no text.
        """
        return [entry.text() for entry in self.entries()]

    def text(self) -> str:
        """Return a text that is not empty.

        Raises:
            DocumentError: it is something else, as a number without quotes.
        """
        node = self._node
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT or not node.value:
            raise self.error("text is expected here; put what looks like a number, a date or yes and no in quotes")
        return str(node.value)

    def error(self, message: str) -> DocumentError:
        """Return an error that says where this entry is."""
        line = self._node.start_mark.line + 1 if self._node is not None else 1
        return DocumentError(f"{self._file}, line {line}: {message}")


def read(content: bytes, file: str) -> Entry:
    """Return a document.

    Args:
        content: YAML.
        file: its name, for errors.

    Raises:
        DocumentError: it is no YAML, or more than one document.
    """
    try:
        return Entry(yaml.compose(content, Loader=yaml.SafeLoader), file)
    except yaml.YAMLError as error:
        # YAML's own message would show the text of the line, and in it a password.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise DocumentError(f"{file}{where}: this is no YAML") from None
    except RecursionError:
        raise DocumentError(f"{file}: its entries are nested too deep") from None
