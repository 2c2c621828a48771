"""Reads the command that a function's Dockerfile starts: its ENTRYPOINT in exec form."""

import json
import re
from collections.abc import Iterator

from workers.errors import BuildFault

_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)[\"']?")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*$", re.IGNORECASE)


def read_entrypoint(dockerfile: str) -> list[str]:
    """Return the command of the last ENTRYPOINT of the last stage.

    Args:
        dockerfile: the file's text.

    Raises:
        BuildFault: there is none, or it is not a JSON list of strings.
    """
    entrypoint: str | None = None
    for keyword, rest in _instructions(dockerfile):
        if keyword == "FROM":
            entrypoint = None
        elif keyword == "ENTRYPOINT":
            entrypoint = rest
    if entrypoint is None:
        raise BuildFault(
            "the function's Dockerfile has no ENTRYPOINT in its last stage; "
            'add one, as in ENTRYPOINT ["python3", "function.py", "--function-name", "train"]'
        )
    try:
        command = json.loads(entrypoint)
    except json.JSONDecodeError:
        command = None
    if (
        not isinstance(command, list)
        or not command
        or not all(isinstance(part, str) and "\0" not in part for part in command)
        or not command[0]
    ):
        raise BuildFault(
            f"the ENTRYPOINT of the function's Dockerfile is not in exec form: {entrypoint[:200]!r}; "
            'write it as a JSON list of strings, as in ["python3", "function.py"]'
        )
    return command


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction's keyword in capitals and the rest of it, its lines joined."""
    lines = iter(dockerfile.removeprefix("\ufeff").splitlines())
    escape = "\\"
    directives = True
    joined = ""
    for line in lines:
        if directives and (directive := _ESCAPE.match(line.strip())):
            escape = directive[1]
            continue
        directives = directives and line.strip().startswith("#")
        if line.lstrip().startswith("#") or not line.strip():
            continue
        if line.rstrip().endswith(escape):
            joined += line.rstrip()[:-1]
            continue
        keyword, rest = _split(joined + line)
        joined = ""
        if keyword in ("RUN", "COPY", "ADD"):
            for end in _HEREDOC.findall(rest):
                for body in lines:
                    if body.strip() == end:
                        break
        yield keyword, rest
    if joined.strip():
        yield _split(joined)


def _split(instruction: str) -> tuple[str, str]:
    keyword, *rest = instruction.split(maxsplit=1)
    return keyword.upper(), rest[0].strip() if rest else ""
