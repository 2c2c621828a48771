"""Who may use an asset that a command adds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.errors import UsageFault

if TYPE_CHECKING:
    from orchestrator.client.task import Permissions

Command = TypeVar("Command", bound=Callable[..., Any])


def sharing_options(command: Command) -> Command:
    """Give a command the options that `permitted` understands."""
    for option in (
        click.option("--public", is_flag=True, help="Every organization of the channel may use it."),
        click.option(
            "--for", "organizations", multiple=True, metavar="ID", help="This organization may use it too; repeatable."
        ),
    ):
        command = option(command)
    return command


def permitted(organizations: tuple[str, ...], public: bool) -> "Permissions":
    """Return who may use an asset besides its owner.

    Raises:
        UsageFault: both are given.
    """
    from orchestrator.client import PUBLIC

    if public and organizations:
        raise UsageFault("--public is for all, --for for some: give one of them")
    return PUBLIC if public else organizations
