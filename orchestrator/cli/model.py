"""The command of a user about models: get."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.acting import acting, readers
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, UsageFault

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.client import Client, Output


@click.group(cls=Connected)
@connection_options
@click.pass_context
def model(context: click.Context, /, **options: Any) -> None:
    """Download what tasks have made.

    KEY is the key of a model or of the task that made it, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


@model.command()
@click.argument("key")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--output", metavar="NAME", help="Of a task that makes several: what its function calls this one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def get(target: Target, key: str, path: Path, output: str | None, as_json: bool) -> None:
    """Download a model to PATH from the asset store of its owner, and check that it is the registered one.

    PATH is a file, or a folder in which it is called by its key. Never load a model of others with pickle: that runs
    their code.
    """
    access = target.resolve()
    with connect(access) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import reading

        found = reading.find(client, key, reading.TASK, reading.MODEL)
        made = client.model(_output(client, found, output) if isinstance(found, pb.ComputeTask) else found.key)
        try:
            with acting(access, client, *readers(made.owner, made.permissions.process)) as theirs:
                file = theirs.download(made, path)
        except OSError as error:
            raise Fault(f"{path} cannot be written: {error.strerror}") from error
    if as_json:
        reading.print_json({**reading.document(made), "file": str(file)})
    else:
        click.echo(f"model {made.key} is in {file}, sha256 {made.address.checksum.lower()}")


def _output(client: "Client", task: "pb.ComputeTask", name: str | None) -> "Output":
    """Return the output of a task that is meant."""
    from orchestrator import protos as pb
    from orchestrator.client import Output

    declared = client.function(task.function_key).outputs
    names = sorted(each for each, output in declared.items() if output.kind == pb.ASSET_MODEL)
    if name is None and len(names) != 1:
        raise UsageFault(f"task {task.key} makes {len(names)} models: name one with --output: {', '.join(names)}")
    wanted = names[0] if name is None else name
    if wanted not in names:
        raise UsageFault(f"task {task.key} makes no model {wanted!r}; it makes {', '.join(names) or 'none'}")
    return Output(task.key, wanted, declared[wanted])
