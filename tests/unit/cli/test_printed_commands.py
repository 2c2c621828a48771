"""What we tell people to type is understood, and what a command says of itself is whole."""

from pathlib import Path
from typing import Any

import click
import pytest

from tests.kit import commands
from tests.kit.printed import PLACEHOLDER, Printed, all_commands, in_modules, in_pages, parse

PRINTED = {
    printed.line: printed
    for printed in (*in_modules(), *in_pages())
    # Some name a command, or an option, only when they are printed.
    if printed.words[:1] != [PLACEHOLDER] and "{{" not in printed.line
}


@pytest.fixture(autouse=True)
def nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a page names need not be there, nor be a number what stands for one."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    number = click.IntRange.convert
    in_place = {PLACEHOLDER, "ID"}
    monkeypatch.setattr(
        click.IntRange,
        "convert",
        lambda self, value, param, ctx: number(self, "1" if value in in_place else value, param, ctx),
    )


def test_they_are_found():
    assert {"README.md", "docs/assets.md", "orchestrator/embedded/lock.py"} <= {each.where for each in PRINTED.values()}


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
def test_a_printed_command_is_understood(printed: Printed):
    words = printed.words
    try:
        parse(words)
    except click.exceptions.Exit:
        pass
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        # In a text a command may be named without what it needs.
        assert not printed.runs
        assert not any(word.startswith("-") for word in words)


COMMANDS = dict(all_commands())


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_is_whole_and_names_every_variable(names: tuple[str, ...]):
    command = COMMANDS[names]
    shown = commands.run(*names, "--help", environment={"COLUMNS": "80"}).stdout
    assert "..." not in shown.replace("[ARGS]...", "").replace("]...", "")
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar:
            assert option.show_envvar, option.name
            variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar
            assert all(variable in shown for variable in variables)


@pytest.mark.parametrize(
    "words",
    [
        ["--org", "org-1", "--address=host:1", "plan", "list"],
        ["plan", "--org", "org-1", "--address=host:1", "list"],
        ["plan", "list", "--org", "org-1", "--address=host:1"],
        ["--org=org-1", "plan", "--address", "host:1", "list", "--json"],
    ],
)
def test_options_of_the_connection_stand_anywhere(words: list[str]):
    context = parse(words)
    assert context.info_name == "list"
    assert (context.parent.params["org"], context.parent.params["address"]) == ("org-1", "host:1")


def test_a_command_keeps_its_own_option_of_the_same_name():
    context = parse(["--address", "host:1", "org", "register", "--address", "https://store.example"])
    assert context.params["store_url"] == "https://store.example"
    assert context.parent.params["address"] == "host:1"
    assert parse(["--data", "folder", "up"]).params["data"] == Path("folder")


@pytest.mark.parametrize("words", [["--org", "org-1", "up"], ["--org", "org-1"], ["--org"], ["--orgs", "1", "plan"]])
def test_an_option_that_a_command_does_not_know_is_refused(words: list[str]):
    with pytest.raises(click.NoSuchOption):
        parse(words)


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.connection.Target.resolve", interrupt)
    done = commands.run("plan", "list")
    assert (done.returncode, done.stderr) == (130, "\nInterrupted\n")
