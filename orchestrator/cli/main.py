"""The `orchestrator` command: its subcommands are imported when they are called, so that `--help` is quick.

Exit codes: 0 it worked; 1 it did not; 2 the command line, a setting or a file is wrong; 3 the orchestrator or an asset
store cannot be reached or refused; 130 it was interrupted.
"""

import gc
import os
import signal
from importlib import import_module

import click

from orchestrator import __version__
from orchestrator.cli import parts
from orchestrator.cli.connected import options_first
from orchestrator.cli.errors import Interruption
from orchestrator.cli.group import Group

_COMMANDS = {
    "demo": "orchestrator.cli.demo:demo",
    "up": "orchestrator.cli.up:up",
    "down": "orchestrator.cli.up:down",
    "function": "orchestrator.cli.function:function",
    "data": "orchestrator.cli.data:data",
    "plan": "orchestrator.cli.plan:plan",
    "task": "orchestrator.cli.task:task",
    "model": "orchestrator.cli.model:model",
    "schema": "orchestrator.cli.schema:schema",
    "execution": "orchestrator.cli.execution:execution",
    "executions": "orchestrator.cli.executions:executions",
    "problem": "orchestrator.cli.problem:problem",
    "module": "orchestrator.cli.module:module",
    "consent": "orchestrator.cli.consent:consent",
    "node": "orchestrator.cli.node:node",
    "audit": "orchestrator.cli.audit:audit",
    "serve": "orchestrator.cli.server:serve",
    "migrate": "orchestrator.cli.server:migrate",
    "adopt": "orchestrator.cli.adopt:adopt",
    "token": "orchestrator.cli.token:token",
    "beat": "orchestrator.cli.server:beat",
    "flower": "orchestrator.cli.server:flower",
    "broker": "orchestrator.cli.broker:broker",
    "org": "orchestrator.cli.organization:org",
    "worker": "orchestrator.cli.organization:worker",
    "store": "orchestrator.cli.organization:store",
    "runtime": "orchestrator.cli.organization:runtime",
    "certs": "orchestrator.cli.certs:certs",
}

_HELP = {"-h", "--help"}
_OBJECTS_UNTIL_COLLECTION = 10_000
"""Python's own number, 700, has it look for garbage some thousand times, in vain, while it imports a server."""


class _Lazy(Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, options_first(args))

    def invoke(self, ctx: click.Context) -> object:
        gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)
        # gRPC reads it when it is imported; else its C core writes lines of its own about failed handshakes.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        begins = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        if begins:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if fault := parts.missing(ctx.invoked_subcommand or "", error):
                raise fault from error
            raise
        except KeyboardInterrupt:
            # click would make it a plain failure.
            raise Interruption from None
        except RuntimeError as error:
            # Until Python 3.12 a signal that comes while a class is made, as by an import, becomes one.
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise Interruption from None
            if isinstance(error.__cause__, SystemExit):
                raise error.__cause__ from None
            raise
        finally:
            # At Python's own end nobody could catch it any more.
            if begins and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name and not _HELP & {*rest}:
            parts.check(name)
        return name, command, rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": sorted(_HELP)})
@click.version_option(__version__, prog_name="orchestrator")
def main() -> None:
    """Federated learning among organizations whose data stay at home.

    Begin with `orchestrator demo`: three hospitals train one model on this machine. `orchestrator up` starts the
    same federation and leaves it to you. The other commands are the parts that a network is run with; each is told
    what it needs by variables named ORCHESTRATOR_….

    Which orchestrator is meant, and as whom, is said by options that may stand anywhere on the line: see
    `orchestrator plan --help`.
    """
    from orchestrator import log

    # What a command prints is for people or machines; the servers say more, each at its own level.
    log.configure("ERROR")
