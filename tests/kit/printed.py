"""Every command of ours that people are shown: in the docs, in help texts, and in messages."""

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from orchestrator.cli.main import main

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "workers", "beat", "migrations", "examples")
QUOTED = re.compile(r"`+((?:[A-Z_]+=\S* )*orchestrator [^`]+)`+", re.DOTALL)
MAYBE = re.compile(r"`(?:[A-Z_]+=\S* )*orchestrator ")
CALLED = re.compile(r"(?:^\s*(?:\$ )?(?:[A-Z_]+=\S* )*|\$\()orchestrator (?=[a-z-])((?:\$\([^)]*\)|[^)\n])*)")
SHELL = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PLACEHOLDER = "KEY"


@dataclass(frozen=True)
class Printed:
    """A command line as it is shown somewhere.

    Args:
        where: the file.
        line: as it stands there.
        runs: whether it is there to be copied; else it may be no more than the name of a command.
    """

    where: str
    line: str
    runs: bool = False

    @property
    def words(self) -> list[str]:
        """What follows `orchestrator`, as a shell would give it."""
        line = re.sub(r"\$\([^)]*\)", PLACEHOLDER, self.line)
        line = line.replace("…", "").replace("|", " # ").partition(" #")[0].replace("&&", ";").partition(";")[0]
        words = shlex.split(line)
        return words[words.index("orchestrator") + 1 :]  # variables may stand before it


def in_pages() -> Iterator[Printed]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    for page in [*pages, *sorted((ROOT / "charts").rglob("*.md")), *sorted((ROOT / "charts").rglob("NOTES.txt"))]:
        name, text = str(page.relative_to(ROOT)), page.read_text()
        for block in SHELL.finditer(text):
            for line in block[1].replace("\\\n", " ").splitlines():
                if call := CALLED.search(line):
                    yield Printed(name, f"orchestrator {call[1]}", runs=True)
        yield from (Printed(name, match[1]) for match in QUOTED.finditer(SHELL.sub("", text)))


@cache
def in_modules() -> Sequence[Printed]:
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            source = file.read_text()
            # Every process of the tests reads them all.
            if MAYBE.search(source):
                strings = _Strings()
                strings.visit(ast.parse(source))
                name = str(file.relative_to(ROOT))
                found += [Printed(name, match[1]) for text in strings.found for match in QUOTED.finditer(text)]
    return found


class _Strings(ast.NodeVisitor):
    """Finds all strings of a module; what an f-string puts in becomes a placeholder."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.found.append(
            "".join(part.value if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
        )

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)


def parse(words: list[str]) -> click.Context:
    """Return what click makes of the words that follow `orchestrator`; nothing is run.

    Raises:
        click.UsageError: there is no such command or option, a value is wrong, or an argument is missing or too much.
        click.exceptions.Exit: it was asked for help.
    """
    context = main.make_context("orchestrator", [*words])
    while isinstance(context.command, click.Group) and (left := [*context._protected_args, *context.args]):
        name, command, left = context.command.resolve_command(context, left)
        assert command is not None
        context = command.make_context(name, left, parent=context)
    return context


def all_commands(command: click.Command = main, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command, and the words that call it."""
    yield names, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from all_commands(child, *names, name)
