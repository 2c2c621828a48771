"""Writes what `docs/sdk.md` tells of each name of the SDK: how it is called, what it does, what it raises.

Signatures are read from the source, where types are called as a reader would write them.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import orchestrator.client

GROUPS = {
    "Connect": ("Client", "AsyncClient", "Certificates"),
    "Build compute plans": ("Plan", "Task", "Output", "PUBLIC"),
    "Watch and read": ("Event", "Watch", "Progress", "Scores", "Score", "Explanation"),
    "Errors": (),
}
"""The names under each heading; what is in none of them comes under the last."""

_WIDTH = 120
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
_HEADS = {"Args": "", "Attributes": "Attributes:", "Raises": "Raises:", "Returns": "Returns:", "Yields": "Yields:"}
_DEFAULT = re.compile(r"^(\w+: [^=]*)=")
_ENTRY = re.compile(r"^(\w+): (.*)$")


def page() -> str:
    """Return the generated part of the page."""
    named = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "Errors": tuple(name for name in orchestrator.client.__all__ if name not in named)}
    lines: list[str] = []
    for heading, names in groups.items():
        lines += [f"## {heading}", ""]
        for name in names:
            lines += _described(name, getattr(orchestrator.client, name))
    return "\n".join(lines).strip()


def _described(name: str, given: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if not inspect.isclass(given):
        yield "Every organization of the channel, where permissions are given."
        yield ""
        return
    if not issubclass(given, Exception) or "__init__" in vars(given):
        yield from _fenced([_constructor(name, given)])
    yield from _prose(inspect.getdoc(given) or "")
    methods = list(_methods(given))
    if given is orchestrator.client.AsyncClient:
        yield from _fenced([_signature(method, each) for method, each in methods])
        return
    for method, each in methods:
        yield f"#### {name}.{method}"
        yield ""
        if isinstance(each, property):
            yield from _prose(inspect.getdoc(each.fget) or "")
        else:
            yield from _fenced([_signature(method, each)])
            yield from _prose(inspect.getdoc(each) or "")


def _methods(given: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, its own first; what comes with a Python type is left out."""
    seen = {"facts"}
    for owner in given.__mro__:
        if not owner.__module__.startswith("orchestrator."):
            continue
        for name, each in vars(owner).items():
            if name.startswith("_") or name in seen or not (inspect.isfunction(each) or isinstance(each, property)):
                continue
            seen.add(name)
            yield name, each


def _constructor(name: str, given: type) -> str:
    if is_dataclass(given) and "__init__" not in _definition(given):
        fields = [node for node in _tree(given).body if isinstance(node, ast.AnnAssign)]
        return _wrapped(name, [ast.unparse(field) for field in fields], "")
    return _signature(name, given.__init__)  # type: ignore[misc]


def _definition(given: type) -> set[str]:
    return {node.name for node in _tree(given).body if isinstance(node, ast.FunctionDef)}


def _tree(given: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(given))).body[0]


def _signature(name: str, function: Any) -> str:
    tree = _tree(function)
    args = tree.args
    first = (args.posonlyargs + args.args)[0]
    (args.posonlyargs or args.args).remove(first)
    given = [] if name[0].isupper() or tree.returns is None else [ast.unparse(tree.returns).strip("'\"")]
    for argument in args.args + args.kwonlyargs:
        if isinstance(argument.annotation, ast.Constant) and isinstance(argument.annotation.value, str):
            argument.annotation = ast.parse(argument.annotation.value, mode="eval").body
    if inspect.iscoroutinefunction(function):
        name = f"await {name}"
    return _wrapped(name, _split(ast.unparse(args)), f" -> {given[0]}" if given else "")


def _split(arguments: str) -> list[str]:
    """Return arguments one by one: commas within brackets part nothing."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [_DEFAULT.sub(r"\1 = ", part.strip()) for part in parts if part.strip()]


def _wrapped(name: str, arguments: list[str], returns: str) -> str:
    line = f"{name}({', '.join(arguments)}){returns}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"])


def _fenced(lines: list[str], language: str = "py") -> list[str]:
    return [f"```{language}", *lines, "```", ""]


def _prose(text: str) -> Iterator[str]:
    """Yield a docstring as Markdown: its sections as lists, its code as blocks that a test runs."""
    end = 0
    for found in _SECTION.finditer(text + "\n"):
        yield from _paragraphs(text[end : found.start()])
        yield from _listed(found[1], textwrap.dedent(found[2]))
        end = found.end()
    yield from _paragraphs(text[end:])


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(None, (part.strip("\n") for part in text.split("\n\n"))):
        if re.search(r"^ ", paragraph, re.MULTILINE):
            yield from _fenced(paragraph.splitlines(), "python")
        else:
            yield from [*paragraph.splitlines(), ""]


def _listed(section: str, text: str) -> Iterator[str]:
    if head := _HEADS[section]:
        yield from [head, ""]
    joined = re.sub(r"\n +", " ", text.strip())
    for line in joined.splitlines():
        entry = _ENTRY.match(line)
        yield f"- `{entry[1]}`: {entry[2]}" if entry else line
    yield ""
