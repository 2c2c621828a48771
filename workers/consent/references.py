"""Names of images, and which of them a consent policy admits."""

import re
from collections.abc import Iterable

PYTHON = ("docker.io/library/python:*",)
"""What is admitted where a policy says nothing: Python as it is published by those who maintain that image."""

# As the engines read a name: a registry, a path, a tag, a digest.
_NAME = re.compile(
    r"(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/)?[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_LONGEST = 400


def is_name(text: str) -> bool:
    """Say whether a text is the name of an image."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Say whether a text is the name of an image, or its beginning with a * after it."""
    return is_name(text) or (
        len(text) <= _LONGEST and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*\*", text) is not None
    )


def whole(name: str) -> str:
    """Return the whole name of an image, as engines complete it: its registry, and its tag where it has no digest."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    return name if "@" in name or ":" in name.rpartition("/")[2] or name.endswith("*") else f"{name}:latest"


def admitted(name: str, patterns: Iterable[str]) -> bool:
    """Say whether an image is one of those that are admitted.

    Args:
        name: of the image.
        patterns: names, or beginnings of names with a * after them.
    """
    wanted = whole(name)
    return is_name(name) and any(
        wanted.startswith(each[:-1]) if each.endswith("*") else wanted == each for each in map(whole, patterns)
    )
