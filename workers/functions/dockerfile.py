"""Reads a function's Dockerfile as BuildKit does: its instructions, their lines, their heredocs, its ENTRYPOINT."""

import re
from itertools import takewhile

from e2b_dockerfile_utils import DockerfileAst, DockerfileInstruction, DockerfileSyntaxError, parse_dockerfile_ast

from workers.errors import BuildFault

_LARGEST = 512 * 1024
# BuildKit's own limit, without which a line of spaces could be looked at for minutes.
_LONGEST_LINE = 65_535
_LONGEST_DIRECTIVE = 1000
_SHOWN = 200


def parse(text: str) -> DockerfileAst:
    """Return the instructions of a Dockerfile, in their order.

    Args:
        text: of the file.

    Raises:
        BuildFault: it is none; names the line.
    """
    if len(text) > _LARGEST:
        raise BuildFault(f"the function's Dockerfile has more than {_LARGEST} characters")
    lines = text.removeprefix("\ufeff").split("\n")
    for number, line in enumerate(lines, start=1):
        if len(line) > _LONGEST_LINE:
            raise BuildFault(f"line {number} of the function's Dockerfile has more than {_LONGEST_LINE} characters")
    # Where directives may stand they are looked for in a time that is quadratic.
    for number, line in enumerate(takewhile(lambda line: line.lstrip().startswith("#"), tuple(lines))):
        if len(line) > _LONGEST_DIRECTIVE:
            lines[number] = "#"
    try:
        return parse_dockerfile_ast("\n".join(lines))
    except DockerfileSyntaxError as error:
        faulty = lines[error.line - 1].strip() if error.line else ""
        if faulty.upper().startswith("ENTRYPOINT"):
            raise _no_exec_form(faulty[:_SHOWN]) from error
        raise BuildFault(f"the function's Dockerfile cannot be read: {error}") from error
    except RecursionError as error:
        raise BuildFault("the function's Dockerfile cannot be read: something in it is nested too deeply") from error


def read_entrypoint(text: str) -> list[str]:
    """Return the command of the last ENTRYPOINT of the last stage.

    Args:
        text: of the file.

    Raises:
        BuildFault: there is none, or it is not a JSON list of strings.
    """
    return entrypoint(parse(text).instructions)


def entrypoint(instructions: list[DockerfileInstruction]) -> list[str]:
    """Return the command of the last ENTRYPOINT of the last stage.

    Args:
        instructions: of the Dockerfile.

    Raises:
        BuildFault: there is none, or it is not a JSON list of strings.
    """
    found: DockerfileInstruction | None = None
    for instruction in instructions:
        if instruction.name == "FROM":
            found = None
        elif instruction.name == "ENTRYPOINT":
            found = instruction
    if found is None:
        raise BuildFault(
            "the function's Dockerfile has no ENTRYPOINT in its last stage; "
            'add one, as in ENTRYPOINT ["python3", "function.py", "--function-name", "train"]'
        )
    if not found.json or not found.args or not found.args[0] or any("\0" in word for word in found.args):
        raise _no_exec_form(shown(found))
    return found.args


def _no_exec_form(text: str) -> BuildFault:
    return BuildFault(
        f"the ENTRYPOINT of the function's Dockerfile is not in exec form: {text!r}; "
        'write it as a JSON list of strings, as in ["python3", "function.py"]'
    )


def shown(instruction: DockerfileInstruction) -> str:
    """Return an instruction for people, in one line that is not too long, without what URLs in it may hide."""
    text = re.sub(r"//[^/@\s]*@", "//…@", " ".join(instruction.original.split()))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
