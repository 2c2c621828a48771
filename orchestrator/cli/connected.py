"""Groups of commands that connect to an orchestrator: their options, understood wherever they stand."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.errors import Fault
from orchestrator.cli.group import Group

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="ORCHESTRATOR_DATA",
        show_envvar=True,
        help="Folder of a federation that `orchestrator up` runs; used when no address is given. By default "
        ".orchestrator, here or in a folder that this lies in.",
    ),
    click.option(
        "--address", envvar="ORCHESTRATOR_ADDRESS", show_envvar=True, metavar="HOST:PORT", help="The orchestrator."
    ),
    click.option(
        "--org",
        envvar="ORCHESTRATOR_ORGANIZATION",
        show_envvar=True,
        metavar="ID",
        help="As which organization; by default, of the federation that runs here, whoever may, or the first.",
    ),
    click.option(
        "--channel",
        envvar=("ORCHESTRATOR_CHANNEL", "ORCHESTRATOR_CHANNELS"),
        show_envvar=True,
        metavar="NAME",
        help="In which channel; of several, separated by commas, the first.",
    ),
    click.option(
        "--ca-cert",
        type=_FILE,
        envvar="ORCHESTRATOR_CLIENT_CA_CERT",
        show_envvar=True,
        help="CA certificates of the orchestrator.",
    ),
    click.option(
        "--cert",
        type=_FILE,
        envvar="ORCHESTRATOR_CLIENT_CERT",
        show_envvar=True,
        help="The organization's certificate.",
    ),
    click.option(
        "--key", type=_FILE, envvar="ORCHESTRATOR_CLIENT_KEY", show_envvar=True, help="The key of that certificate."
    ),
    click.option(
        "--peer-ca-cert",
        type=_FILE,
        envvar="ORCHESTRATOR_PEER_CA_CERT",
        show_envvar=True,
        help="CA certificates of all organizations' asset stores, for what is uploaded, downloaded and read.",
    ),
    click.option(
        "--proxy-from-environment",
        is_flag=True,
        envvar="ORCHESTRATOR_PROXY_FROM_ENVIRONMENT",
        show_envvar=True,
        help="Connect by the proxy that https_proxy, http_proxy and no_proxy name; else they are not heeded.",
    ),
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a group of commands the options that `Target` is made of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those of them that say as whom another orchestrator is called, whose address it takes itself."""
    connection_options(command)
    given: list[click.Option] = command.__click_params__  # type: ignore[attr-defined]
    given[:] = [option for option in given if option.name not in {"data", "address", "peer_ca_cert"}]
    return command


def options_first(args: list[str]) -> list[str]:
    """Return a command line in which the options before the command stand behind it, where it understands them."""
    flags = {name: option.is_flag for option in parsed() for name in option.opts}
    count = 0
    while count < len(args) and (name := args[count].partition("=")[0]) in flags:
        count += 1 if flags[name] or "=" in args[count] else 2
    return [*args[count : count + 1], *args[:count], *args[count + 1 :]]


def parsed() -> list[click.Option]:
    """Return the options that `Target` is made of."""
    command = click.Command(None)
    connection_options(command)
    return [option for option in command.params if isinstance(option, click.Option)]


class Connected(Group):
    """A group with connection options, which are understood behind the name of the command too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options of the group, wherever they stand."""
        return super().parse_args(ctx, self._sorted(ctx, args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what is wrong with a file of the user's ends it with one line.

        Raises:
            Fault: a file cannot be read or written.
        """
        try:
            return super().invoke(ctx)
        except OSError as error:
            # Who reads the output may go away, as `head` does: click knows that.
            if error.errno == errno.EPIPE:
                raise
            where = error.filename or "a file or the standard output"
            raise Fault(f"{where} cannot be read or written: {error.strerror or error}") from error

    def _sorted(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return arguments with the options of the group in front; a command may have one of the same name."""
        ours = {name: option for option in self.params for name in option.opts}
        front: list[str] = []
        rest: list[str] = []
        left = list(args)
        while left and left[0] != "--":
            word = left.pop(0)
            option = ours.get(word.partition("=")[0])
            if isinstance(option, click.Option):
                front.append(word)
                if "=" not in word and not option.is_flag:
                    if not left:
                        # In front of the others the next word would be taken for it.
                        raise click.BadOptionUsage(word, f"Option {word!r} requires an argument.", ctx)
                    front += left[:1]
                    del left[:1]
                continue
            if not rest and word in self.commands:
                # The command is the first word that is no option.
                own = {name for parameter in self.commands[word].params for name in parameter.opts}
                ours = {name: option for name, option in ours.items() if name not in own}
            rest.append(word)
        return [*front, *rest, *left]
