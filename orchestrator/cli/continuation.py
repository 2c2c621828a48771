"""The commands of a user that go on with a compute plan: retry it, run it anew."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import UsageFault
from orchestrator.cli.submission import read_plan

if TYPE_CHECKING:
    from orchestrator.client import Client, Continuation

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(command: Command) -> Command:
    options = (
        click.argument("key"),
        click.option(
            "--replace",
            multiple=True,
            metavar="OLD=NEW",
            help="In the place of this function, data set, sample or model stands another; repeatable.",
        ),
        click.option("--name", default="", help="Of the new plan; that of the first by default."),
        click.option("--new-key", metavar="UUID", help="Of the new plan; random by default."),
        click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_options
@click.pass_obj
def retry(target: Target, /, key: str, as_json: bool, **changes: Any) -> None:
    """Go on with a compute plan that failed or was cancelled: a new plan of what is not Done.

    What is Done is reused; the first plan stays as it ended. A task whose output is gone and needed runs again. The
    same again, with the same --new-key, registers nothing more.
    """
    _go_on(target, key, as_json, changes, lambda client: client.retry)


@click.command()
@_options
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The plan as it was written anew, as `Plan.save` of the SDK writes it; like the first without it.",
)
@click.pass_obj
def rerun(target: Target, /, key: str, as_json: bool, file: Path | None, **changes: Any) -> None:
    """Run a compute plan anew: a new plan, which reuses what is Done and has not changed.

    What has changed is told by content: the checksums of functions and inputs, metadata, workers and permissions.
    """
    if file is not None and any(changes.values()):
        raise UsageFault("--file says all of the new plan: give nothing else beside it")

    def how(client: "Client") -> "Callable[..., Continuation]":
        return partial(client.rerun, edited=read_plan(client, file) if file else None)

    _go_on(target, key, as_json, changes, how)


def _go_on(
    target: Target,
    key: str,
    as_json: bool,
    changes: dict[str, Any],
    how: "Callable[[Client], Callable[..., Continuation]]",
) -> None:
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading

        plan = reading.find(client, key, reading.PLAN)
        replacements = dict(_pair(client, words) for words in changes["replace"])
        made = how(client)(plan.key, name=changes["name"], replacements=replacements, key=changes["new_key"])
    if as_json:
        reading.print_json(made.document())
        return
    click.echo(str(made))
    click.echo(f"`orchestrator plan watch {made.key[:8]}` follows it")


def _pair(client: "Client", words: str) -> tuple[str, str]:
    old, equals, new = words.partition("=")
    if not (old and equals and new):
        raise UsageFault(f"--replace {words}: OLD=NEW is expected, two keys")
    return _whole(client, old), _whole(client, new)


def _whole(client: "Client", key: str) -> str:
    from orchestrator.cli import reading

    # A data sample is known by its whole key alone: no list of them is for people.
    if len(key) >= reading.KEY_LENGTH:
        return key
    found: str = reading.find(client, key, reading.FUNCTION, reading.DATASET, reading.MODEL).key
    return found
