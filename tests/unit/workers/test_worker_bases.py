"""What a Dockerfile may be made of that an engine follows."""

import pytest

from workers.consent import references
from workers.errors import BuildFault
from workers.functions import bases

ENDS = '\nENTRYPOINT ["python3", "function.py"]\n'


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM python:3.11-slim\nCOPY . .\nRUN pip install numpy", references.PYTHON),
        ("FROM scratch", ()),
        ("ARG V=3.11\nFROM python:${V} AS made\nRUN make\nFROM made\nCOPY --from=made /a /b", references.PYTHON),
        ("FROM python:3.11 AS a\nFROM python:3.12\nCOPY --from=0 --chown=1:1 /a /b", references.PYTHON),
        ("FROM registry.example.org/lab/base:1", ("registry.example.org/lab/*",)),
        ("FROM --platform=linux/amd64 python:3.12", references.PYTHON),
        ("FROM python:3.12\nRUN --mount=type=cache,target=/root/.cache pip install numpy", references.PYTHON),
    ],
)
def test_what_is_made_of_admitted_images_is_followed(text: str, images: tuple[str, ...]) -> None:
    bases.check(text + ENDS, images, network=False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM evil/python:3.11", "line 1 .* the image evil/python:3.11 is none of those"),
        ("FROM python:3.11\nCOPY --from=evil/x /a /b", "line 2 .* the image evil/x is none of those"),
        ("FROM python:3.11\nRUN --mount=type=bind,from=evil/x,target=/x ls", "line 2 .* evil/x is none of those"),
        ("FROM python:3.11\nCOPY --from=$X /a /b", "names an image by a variable"),
        ("ARG X=evil/x\nFROM $X", "the image evil/x is none of those"),
        ("FROM python:3.11\nRUN --network=host curl x", "--network is not done here"),
        ("FROM python:3.11\nRUN --security=insecure x", "--security is not done here"),
        ("FROM python:3.11\nRUN --mount=type=secret,id=x cat /run/secrets/x", "a mount of the type secret"),
        ("FROM python:3.11\nRUN --mount=type=ssh ssh x", "a mount of the type ssh"),
        ("FROM python:3.11\nADD https://example.org/x /x", "what it adds may come from the network"),
        ("FROM python:3.11\nADD $SOURCE /x", "what it adds may come from the network"),
        ("FROM python:3.11\nADD git@example.org:x.git /x", "what it adds may come from the network"),
        ("FROM python:3.11\nONBUILD RUN x", "it is for images that are made of this one"),
        ("# syntax=evil/frontend:1\nFROM python:3.11", "names a program that is to read it"),
        ("\n#  Syntax = evil/frontend:1\nFROM python:3.11", "names a program that is to read it"),
        ("FROM python:3.11@sha256:1", "is none of those"),
    ],
)
def test_what_names_more_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(BuildFault, match=complaint):
        bases.check(text + ENDS, references.PYTHON, network=False)


def test_with_the_network_what_is_added_may_come_from_it() -> None:
    bases.check("FROM python:3.11\nADD https://example.org/x /x" + ENDS, references.PYTHON, network=True)


@pytest.mark.parametrize(
    ("name", "patterns", "admitted"),
    [
        ("python", references.PYTHON, True),
        ("python:3.11-slim", references.PYTHON, True),
        ("docker.io/library/python:3", references.PYTHON, True),
        ("docker.io/library/pythonx:3", references.PYTHON, False),
        ("somebody/python:3", references.PYTHON, False),
        ("localhost/base:1", ("localhost/base:1",), True),
        ("localhost/base", ("localhost/base:1",), False),
        ("localhost/base", ("localhost/base",), True),
        ("registry.example.org:5000/a/b:1", ("registry.example.org:5000/a/*",), True),
        ("registry.example.org/a/../b", ("registry.example.org/a/*",), False),
        ("--privileged", ("*",), False),
        ("python:3 --volume=/:/x", references.PYTHON, False),
    ],
)
def test_images_are_admitted_by_their_whole_name(name: str, patterns: tuple[str, ...], admitted: bool) -> None:
    assert references.admitted(name, patterns) is admitted


@pytest.mark.parametrize(
    ("text", "is_pattern"),
    [("registry.example.org/lab/*", True), ("python:3.11", True), ("*", False), ("a b", False), ("x*y", False)],
)
def test_a_pattern_has_a_beginning(text: str, is_pattern: bool) -> None:
    assert references.is_pattern(text) is is_pattern
