"""Errors that end a command with one line and an exit code."""

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
