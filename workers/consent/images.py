"""The map of images: which command of an organization's own, or which image, stands for the image of a container step.

It is the organization's consent to steps of executions: an image that is not in it does not run here. The file is
written by hand, and read again when it changes.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeAlias

from orchestrator.core import documents
from orchestrator.core.documents import Entry
from workers.consent.references import is_name
from workers.executors.executor import Shared

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Image:
    """What stands for one image.

    Args:
        command: the program, and its first arguments; those of the step come after them. Empty where it runs itself.
        network: whether it may use the network.
        paths: of this machine that it sees, besides the system's programs.
        env: names of the variables that a step may set for it.
        runs: the name of the image that runs in a container; empty where a command of this machine does.
    """

    command: tuple[str, ...] = ()
    network: bool = False
    paths: tuple[Shared, ...] = ()
    env: frozenset[str] = frozenset()
    runs: str = ""

    @classmethod
    def parse(cls, entry: Entry, private: Iterable[Path]) -> Self:
        """Read what is written for one image.

        Args:
            entry: of the map.
            private: paths that no command may see.

        Raises:
            DocumentError: it is wrong; names the line and what is expected.
        """
        parts = entry.mapping("command", "image", "network", "paths", "env")
        if bool(parts["command"]) == bool(parts["image"]):
            raise entry.error(
                "a command is expected here, as in command: [/opt/engine/run], or an image that runs in a container, "
                "as in image: registry.example.org/engine:1.4"
            )
        runs = parts["image"].text() if parts["image"] else ""
        if runs and not is_name(runs):
            raise parts["image"].error("the name of an image is expected")
        for name, each in parts["env"].members().items():
            if not _VARIABLE.fullmatch(name):
                raise each.error("the name of a variable is expected, of letters, digits and _")
        return cls(
            command=_command(parts["command"]) if parts["command"] else (),
            network=parts["network"].flag(),
            paths=tuple(_path(text, each, private) for text, each in parts["paths"].members().items()),
            env=frozenset(parts["env"].members()),
            runs=runs,
        )


Images: TypeAlias = Mapping[str, Image]
"""What stands for each image, by its name as workflows write it, with its tag."""

NONE: Images = MappingProxyType({})
"""No image runs."""


def parse(content: bytes, name: str, private: Iterable[Path] = ()) -> Images:
    """Read the file of a map of images.

    Args:
        content: of the file.
        name: the file's, for errors.
        private: paths that no command may see.

    Raises:
        DocumentError: it is none; names the line and what is expected.
    """
    document = documents.read(content, name)
    return MappingProxyType({image: Image.parse(entry, private) for image, entry in document.mapping().items()})


def _command(entry: Entry) -> tuple[str, ...]:
    words = entry.entries()
    if not words:
        raise entry.error("a program is expected in this list, with its first arguments after it")
    program = words[0].text()
    if "/" in program and not (program.startswith("/") and os.access(program, os.X_OK)):
        raise words[0].error("the absolute path of a program, or the name of one of the system's, is expected")
    return tuple(word.text() for word in words)


def _path(text: str, entry: Entry, private: Iterable[Path]) -> Shared:
    try:
        shared = Shared.parse(text)
    except ValueError:
        raise entry.error("an absolute path below / is expected, with or without :rw after it") from None
    if not shared.path.exists():
        raise entry.error("there is no such path on this machine; one that is there is expected")
    seen = shared.path.resolve()
    for each in (path.resolve() for path in private):
        if each.is_relative_to(seen) or seen.is_relative_to(each):
            raise entry.error("this path is private to the worker, in part at least; another is expected")
    return shared
