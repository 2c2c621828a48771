"""What the pages for operators name is there: commands with their options, settings, metrics, events of the log."""

import re
import shlex
from pathlib import Path

import click
import pytest

from orchestrator.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "operate").glob("*.md"))
PACKAGES = ("orchestrator", "workers", "beat", "migrations")
SOURCE = "\n".join(
    file.read_text()
    for package in PACKAGES
    for file in (ROOT / package).rglob("*.py")
    if not file.name.endswith(("_pb2.py", "_pb2_grpc.py"))
)
# Pages that tell settings, most of them made from the classes of settings.
SETTINGS = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
METRICS = (ROOT / "docs" / "metrics.md").read_text()
FENCED = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
OF_TESTS = "ORCHESTRATOR_TEST_"
ROLES = {"orchestrator_owner", "orchestrator_server", "orchestrator_auditor"}
WITH_EVENTS = ("database", "logs", "monitor", "troubleshoot")
# Of files, and of values of the charts.
NO_EVENTS = re.compile(r"(metrics|migrations)\..*|.*\.(yaml|env|conf|crt|example)")


def fenced(text: str) -> str:
    return "\n".join(body for kind, body in FENCED.findall(text) if kind == "sh")


def inline(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def commands(text: str) -> list[list[str]]:
    """Return the words of each `orchestrator …` of a page."""
    lines = re.sub(r"\\\n\s*", "", fenced(text)).splitlines() + inline(text)
    found = []
    for line in lines:
        if re.match(r"\s*(kubectl|helm) ", line):
            continue
        match = re.search(r"(?:^|[\s;])orchestrator ([a-z][a-z-]*(?:\s.*)?)$", line.partition(" | ")[0].strip())
        if match and "…" not in match[1].partition(" ")[0]:
            found.append(shlex.split(match[1].partition(">")[0], comments=True))
    return found


def problem(words: list[str]) -> str | None:
    """Return what the program does not know of a command line."""
    command: click.Command = main
    context = click.Context(main)
    options: set[str] = {"--help", "--version"}
    for word in words:
        word = word.partition(" ")[0]
        if word.startswith("--") and word != "--":
            options |= {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
            if word.partition("=")[0] not in options:
                return f"{command.name} has no {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"{command.name} has no command {word}"
            command, context = found, click.Context(found, parent=context, info_name=word)
            options |= {name for each in found.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_that_the_program_has(page: Path) -> None:
    assert [found for words in commands(page.read_text()) if (found := problem(words))] == []


def test_a_command_that_is_not_there_is_found() -> None:
    (words,) = commands("see `orchestrator execution get ID`")
    assert problem(words) == "execution has no command get"
    (words,) = commands("```sh\norchestrator node list --all-of-them\n```\n")
    assert problem(words) == "list has no --all-of-them"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_metric_and_event_is_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"\bORCHESTRATOR_[A-Z_]*[A-Z]\b(?!_)", text))
    assert {name for name in named if name not in SETTINGS and not name.startswith(OF_TESTS)} == set()
    metrics = {name for code in inline(text) for name in re.findall(r"\borchestrator_[a-z_]+\b", code)}
    assert {name for name in metrics - ROLES if name not in METRICS} == set()
    events = {
        code for code in inline(text) if re.fullmatch(r"[a-z_]+\.[a-z_]+", code) and not NO_EVENTS.fullmatch(code)
    }
    if page.stem in WITH_EVENTS:
        assert {code for code in events if f'"{code}"' not in SOURCE and sweep_of(code) is None} == set()


def sweep_of(code: str) -> str | None:
    """Return the name of a sweep whose run is told by a name, None where it is none's."""
    subject, _, name = code.partition(".")
    return name if subject == "sweep" and f'"{name}"' in SOURCE else None
