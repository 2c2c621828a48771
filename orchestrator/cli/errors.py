"""Errors that end a command with one line and an exit code."""

from typing import IO, Any

import click


class Fault(click.ClickException):
    """It did not work."""

    exit_code = 1


class UsageFault(click.ClickException):
    """The command line or a setting is wrong."""

    exit_code = 2


class RemoteFault(click.ClickException):
    """The orchestrator cannot be reached, or refused the call."""

    exit_code = 3


class Interruption(click.ClickException):
    """It was ended by Ctrl-C."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("Interrupted")

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so, in a line of its own: the terminal has written ^C."""
        click.echo(f"\n{self.message}", file=file, err=True)
