"""The commands of a portal's people about schemas: add, list, show, delete."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from orchestrator.cli.connected import Connected
from orchestrator.cli.portal import Portal

_PATH = "/api/schemas/"
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Connected)
@Portal.options
@click.pass_context
def schema(context: click.Context, /, **options: Any) -> None:
    """Store workflow templates for executions."""
    context.obj = Portal(**options)


@schema.command()
@click.argument("description", type=_FILE)
@click.argument("workflow", type=_FILE)
@_JSON
@click.pass_obj
def add(portal: Portal, description: Path, workflow: Path, as_json: bool) -> None:
    """Store a schema: DESCRIPTION in JSON, as docs/executions.md says, and its WORKFLOW template."""
    from orchestrator.cli import reading

    stored = portal.send("POST", _PATH, description.read_bytes(), [("auxiliary_file", workflow)])
    if as_json:
        reading.print_json(stored)
    else:
        click.echo(f"schema {stored['name']} is stored: {stored['url']}")


@schema.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@_JSON
@click.pass_obj
def list_schemas(portal: Portal, limit: int, as_json: bool) -> None:
    """List schemas, the newest last."""
    from orchestrator.cli import reading, tables

    found = [*portal.pages(_PATH, limit)][::-1]
    if as_json:
        reading.print_json({"schemas": found})
        return
    rows = [
        (each["name"], each["type"], each["implementation"], each["created_at"][:16].replace("T", " "))
        for each in found
    ]
    tables.console().print(tables.table("schema", "type", "implementation", "created", rows=rows, whole=("created",)))


@schema.command()
@click.argument("name")
@click.pass_obj
def show(portal: Portal, name: str) -> None:
    """Show a schema, in JSON."""
    from orchestrator.cli import reading

    reading.print_json(portal.send("GET", _place(name)))


@schema.command()
@click.argument("name")
@click.pass_obj
def delete(portal: Portal, name: str) -> None:
    """Delete a schema, all its executions and their files."""
    portal.send("DELETE", _place(name))
    click.echo(f"schema {name} is deleted, with its executions")


def _place(name: str) -> str:
    # A dot as itself could be a step of the path: `..`.
    return f"{_PATH}{quote(name, safe='').replace('.', '%2E')}/"
