"""A group of commands that has the options of a connection: where they stand, and what ends it with one line."""

import errno

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli.connected import Connected, connection_options


@click.group(cls=Connected)
@connection_options
def group(**_: object) -> None:
    """Do something."""


@group.command()
@click.option("--json", "as_json", is_flag=True)
def fine(as_json: bool) -> None:
    """Work."""
    click.echo("fine")


@group.command()
@click.argument("number", type=int)
def broken(number: int) -> None:
    """Meet an error of the system."""
    raise OSError(number, "what the system says", "patients.csv" if number == errno.EACCES else None)


@pytest.mark.parametrize(
    "words", [["fine", "--json", "--org"], ["fine", "--org"], ["--address", "a:1", "fine", "--org"]]
)
def test_an_option_without_its_argument_is_named(words: list[str]) -> None:
    result = CliRunner().invoke(group, words)
    assert (result.exit_code, "Option '--org' requires an argument." in result.output) == (2, True)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Error: patients.csv cannot be read or written: what the system says\n"),
        (errno.ENOSPC, "Error: a file or the standard output cannot be read or written: what the system says\n"),
    ],
)
def test_an_error_of_the_system_is_one_line(number: int, words: str) -> None:
    result = CliRunner().invoke(group, ["broken", str(number)])
    assert (result.exit_code, result.output) == (1, words)


def test_a_reader_that_goes_away_is_no_error() -> None:
    result = CliRunner().invoke(group, ["broken", str(errno.EPIPE)])
    assert (result.exit_code, result.output) == (1, "")
