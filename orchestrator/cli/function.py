"""The commands of a user about functions: add, list, show, logs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.sharing import permitted, sharing_options

if TYPE_CHECKING:
    from orchestrator import protos as pb

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_READY_SECONDS = 600.0


@click.group(cls=Connected)
@connection_options
@click.pass_context
def function(context: click.Context, /, **options: Any) -> None:
    """Add, list and show functions: the programs that the tasks of compute plans run.

    KEY is a function's key, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


@function.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="", help="For people; else what function.yaml says, or the folder's name.")
@sharing_options
@click.option("--wait", is_flag=True, help="Until the organization's worker has built it.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=_READY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="With --wait: give up after this long.",
)
@_JSON
@click.pass_obj
def add(
    target: Target,
    folder: Path,
    name: str,
    organizations: tuple[str, ...],
    public: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Add the function in FOLDER: a Dockerfile, a program, and function.yaml, which says what it takes and makes.

    The folder is packed and uploaded to the organization's own asset store; what Python compiled, .git, .venv and
    .ipynb_checkpoints are left out. Prints the key of the function.
    """
    who = permitted(organizations, public)
    with connect(target.resolve()) as client:
        added = client.add_function(folder, name=name, permissions=who)
        if wait:
            (added,) = client.wait_ready(added, timeout=timeout)
    if as_json:
        from orchestrator.cli import reading

        reading.print_json({**reading.document(added), "state": _word(added)})
    else:
        click.echo(added.key)


@function.command("list")
@_JSON
@click.pass_obj
def list_functions(target: Target, as_json: bool) -> None:
    """List the functions of the channel, the newest last."""
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading, tables
        from orchestrator.client import lists

        found = list(lists.functions(client))
    if as_json:
        reading.print_json({"functions": [{**reading.document(each), "state": _word(each)} for each in found]})
        return
    key = tables.short(each.key for each in found)
    rows = [(key(each.key), each.name, each.owner, tables.minute(each.creation_date), _word(each)) for each in found]
    columns = ("function", "name", "owner", "created", "state")
    none = "no functions yet: `orchestrator function add FOLDER` adds one"
    tables.show(*columns, rows=rows, none=none, whole=("function", "created", "state"))


@function.command()
@click.argument("key")
@_JSON
@click.pass_obj
def show(target: Target, key: str, as_json: bool) -> None:
    """Show a function: what it takes and makes, who may run it, and whether it is built.

    Its code is shown by `orchestrator consent show KEY`.
    """
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import advice, reading, tables
        from orchestrator.core import permissions

        found = reading.find(client, key, reading.FUNCTION)
        why = advice.unbuilt(access, client, found)
    if as_json:
        reading.print_json({**reading.document(found), "state": _word(found), "reason": why or ""})
        return
    output = tables.console()
    output.print(
        tables.facts(
            (
                ("function", found.key),
                ("name", found.name),
                ("owner", found.owner),
                ("for", permissions.users(found.permissions.process)),
                ("created", tables.moment(found.creation_date)),
                ("state", _word(found)),
                ("archive", f"sha256 {found.archive.checksum.lower()}"),
                *sorted(found.metadata.items()),
            )
        )
    )
    for title, declared in (("input", found.inputs), ("output", found.outputs)):
        rows = [(name, _kind(each)) for name, each in sorted(declared.items())]
        if rows:
            output.print(tables.table(title, "kind", rows=rows, whole=("kind",)))
    if why:
        output.print(why, soft_wrap=True, markup=False)


@function.command()
@click.argument("key")
@click.option("--raw", is_flag=True, help="Each byte as it was written, also what steers terminals.")
@click.pass_obj
def logs(target: Target, key: str, raw: bool) -> None:
    """Print the log of a function's build: what of its Dockerfile was passed over, what was installed, why it failed.

    Why it failed is for all who may use the function, all else for its owner.
    """
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import reading
        from orchestrator.cli.task_log import print_build_log

        print_build_log(access, client, reading.find(client, key, reading.FUNCTION), raw)


def _kind(declared: "pb.FunctionInput | pb.FunctionOutput") -> str:
    from orchestrator import protos as pb

    kind = pb.AssetKind.Name(declared.kind).removeprefix("ASSET_").lower()
    flags = [name for name in ("multiple", "optional") if getattr(declared, name, False)]
    return ", ".join([kind, *flags])


def _word(found: "pb.Function") -> str:
    from orchestrator.core.states import FUNCTION_WORDS

    return FUNCTION_WORDS[found.status]
