"""The commands of a portal's people about executions: start, list, show, watch, cancel, delete, logs."""

import getpass
import json
import time
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, UsageFault
from orchestrator.cli.portal import Portal

_PATH = "/api/executions/"
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ID = click.argument("id_", metavar="ID", type=click.IntRange(min=1))
_LOOK_SECONDS = 1.0


@click.group(cls=Connected)
@Portal.options
@click.pass_context
def execution(context: click.Context, /, **options: Any) -> None:
    """Start runs of stored schemas, and follow them."""
    context.obj = Portal(**options)


@execution.command()
@click.argument("description", type=_FILE)
@click.option(
    "--file",
    "files",
    nargs=2,
    type=(str, _FILE),
    multiple=True,
    metavar="PART FILE",
    help="A file that the schema asks for, as in `external_data images.zip`; may be given several times.",
)
@_JSON
@click.pass_obj
def start(portal: Portal, description: Path, files: tuple[tuple[str, Path], ...], as_json: bool) -> None:
    """Start an execution: DESCRIPTION in JSON, as docs/executions.md says, names its schema."""
    from orchestrator.cli import reading

    started = portal.send("POST", _PATH, description.read_bytes(), files)
    if as_json:
        reading.print_json(started)
    else:
        click.echo(f"execution {started['id']} is {started['state']['status']}: {started['url']}")


@execution.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@click.option("--schema", metavar="NAME", help="Of this schema alone.")
@_JSON
@click.pass_obj
def list_executions(portal: Portal, limit: int, schema: str | None, as_json: bool) -> None:
    """List executions, the newest last."""
    from orchestrator.cli import reading, tables

    found = [*portal.pages(_PATH, limit, **({"schema": schema} if schema else {}))][::-1]
    if as_json:
        reading.print_json({"executions": found})
        return
    rows = [
        (
            str(each["id"]),
            _schema(each),
            each["state"]["status"],
            each["updated_at"][:16].replace("T", " "),
            each["state"].get("message", ""),
        )
        for each in found
    ]
    columns = ("id", "schema", "state", "updated", "message")
    tables.console().print(tables.table(*columns, rows=rows, whole=("id", "state", "updated")))


@execution.command()
@_ID
@click.pass_obj
def show(portal: Portal, id_: int) -> None:
    """Show an execution, in JSON."""
    from orchestrator.cli import reading

    reading.print_json(portal.send("GET", f"{_PATH}{id_}/"))


@execution.command()
@_ID
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this long.")
@click.pass_obj
def watch(portal: Portal, id_: int, timeout: float | None) -> None:
    """Follow an execution until it ends: exit code 0 when it has succeeded, 1 when it has failed."""
    deadline = None if timeout is None else time.monotonic() + timeout
    last = ""
    while True:
        state = portal.send("GET", f"{_PATH}{id_}/")["state"]
        if state["status"] != last:
            last = state["status"]
            click.echo(f"execution {id_} is {last}")
        if last == "succeeded":
            return
        if last == "failed":
            raise Fault(state.get("message", "it has failed"))
        if deadline is not None and time.monotonic() > deadline:
            raise Fault(f"after {timeout:g} s execution {id_} is still {last}")
        time.sleep(_LOOK_SECONDS)


@execution.command()
@_ID
@click.pass_obj
def cancel(portal: Portal, id_: int) -> None:
    """Fail an execution, with the message that somebody has cancelled it, and end its workflow or its steps."""
    shown = portal.send("GET", f"{_PATH}{id_}/")
    if shown["state"]["status"] not in ("pending", "running"):
        raise UsageFault(f"execution {id_} has {shown['state']['status']}, so there is nothing to cancel")
    message = json.dumps({"message": f"cancelled by {getpass.getuser()}"}).encode()
    portal.send("PATCH", f"{_PATH}{id_}/update_to_failed/", message, cancel="true")
    click.echo(f"execution {id_} is cancelled")


@execution.command()
@_ID
@click.pass_obj
def delete(portal: Portal, id_: int) -> None:
    """Delete an execution and its files."""
    portal.send("DELETE", f"{_PATH}{id_}/")
    click.echo(f"execution {id_} is deleted")


@execution.command()
@_ID
@click.argument("step", required=False)
@connection_options
@click.option("--follow", "-f", is_flag=True, help="Go on until the step has ended.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Of the attempts at it; the last by default.")
@click.option("--raw", is_flag=True, help="Each byte as the program wrote it, also what steers terminals.")
def logs(id_: int, step: str | None, follow: bool, attempt: int | None, raw: bool, **options: Any) -> None:
    """Print what the containers of an execution say, each from the asset store of the organization that runs it.

    STEP is the name of one, as the workflow calls it, or the beginning of its key; all by default. It is for workflows
    that are run here, by the runtime `tasks`: a cluster has its own logs.
    """
    from orchestrator.cli.step_log import print_logs

    access = Target(**options).resolve()
    with connect(access) as client:
        print_logs(access, client, id_, step, attempt, follow=follow, raw=raw)


def _schema(shown: dict[str, Any]) -> str:
    from urllib.parse import unquote

    return unquote(shown["schema"].rstrip("/").rpartition("/")[2])
