"""The commands of a user about an organization's own data: add, list."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.acting import acting
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import RemoteFault, UsageFault
from orchestrator.cli.sharing import permitted, sharing_options

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


@click.group(cls=Connected)
@connection_options
@click.pass_context
def data(context: click.Context, /, **options: Any) -> None:
    """Add and list data sets: an opener, the program that reads the data, and data samples, a folder each.

    The data go to the organization's own asset store, and nowhere else. KEY is a data set's key, or as much of its
    beginning as no other has.
    """
    context.obj = Target(**options)


@data.command()
@click.argument("folders", nargs=-1, metavar="[FOLDER]…", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", "key", metavar="KEY", help="The data set that the folders are added to; else a new one.")
@click.option(
    "--opener",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Of a new data set: the Python file that reads its data samples.",
)
@click.option("--name", help="Of a new data set, for people.")
@click.option("--description", default="", metavar="TEXT", help="Of a new data set, for people, Markdown.")
@sharing_options
@click.option(
    "--logs-for", "readers", multiple=True, metavar="ID", help="This organization may read logs of tasks on it too."
)
@_JSON
@click.pass_obj
def add(
    target: Target,
    folders: tuple[Path, ...],
    key: str | None,
    opener: Path | None,
    name: str | None,
    description: str,
    organizations: tuple[str, ...],
    public: bool,
    readers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add a data set, or more data samples to one: each FOLDER becomes one data sample.

    A folder whose content the data set has already is not added again: what was cut off may be repeated, and several
    may add the same at once. Prints the key of the data set, and that of each folder's data sample.
    """
    who = permitted(organizations, public)
    if key is not None and (opener or name or description or organizations or public or readers):
        raise UsageFault("--to names a data set that is there; the other options are for a new one")
    if key is None and not (opener and name):
        raise UsageFault("a new data set needs --opener FILE and --name NAME; --to KEY adds to one that is there")
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import reading
        from orchestrator.client.folders import files_of_sample

        for folder in folders:
            # What is wrong with one is found before a data set is there, which would stay.
            files_of_sample(folder)
        if opener and name:
            dataset = client.add_dataset(opener, name=name, permissions=who, logs=readers, description=description)
        else:
            dataset = reading.find(client, key or "", reading.DATASET)
        if not as_json:
            # Before the folders: who is cut off goes on with it.
            click.echo(f"data set {dataset.key}")
        with _to_go_on(target, dataset.key if key is None else None), acting(access, client, dataset.owner) as theirs:
            if theirs.organization != dataset.owner:
                raise RemoteFault(
                    f"data set {dataset.key} belongs to {dataset.owner}: only {dataset.owner} may add to it"
                )
            samples = theirs.add_samples(folders, dataset)
    if as_json:
        reading.print_json(
            {
                **reading.document(dataset),
                "data_samples": [
                    {**reading.document(sample), "folder": str(folder)}
                    for sample, folder in zip(samples, folders, strict=True)
                ],
            }
        )
        return
    for sample, folder in zip(samples, folders, strict=True):
        click.echo(f"data sample {sample.key} {folder}")


@contextmanager
def _to_go_on(target: Target, made: str | None) -> Iterator[None]:
    """Say how one goes on with a data set that was made, when the block ends too early."""
    try:
        yield
    except BaseException:
        if made:
            click.echo(f"go on with the same folders: {target.command('data')} add --to {made} FOLDER…", err=True)
        raise


@data.command("list")
@_JSON
@click.pass_obj
def list_datasets(target: Target, as_json: bool) -> None:
    """List the data sets of the channel, the newest last, and how many data samples each has."""
    with connect(target.resolve()) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import reading, tables
        from orchestrator.client import lists
        from orchestrator.core import permissions

        found = list(lists.datasets(client))
        samples = [
            list(client.datasets.GetDataset(pb.GetDatasetParam(key=each.key)).data_sample_keys) for each in found
        ]
    if as_json:
        listed = [
            {**reading.document(each), "data_sample_keys": keys} for each, keys in zip(found, samples, strict=True)
        ]
        reading.print_json({"datasets": listed})
        return
    key = tables.short(each.key for each in found)
    rows = [
        (key(each.key), each.name, each.owner, str(len(keys)), permissions.users(each.permissions.process))
        for each, keys in zip(found, samples, strict=True)
    ]
    columns = ("data set", "name", "owner", "samples", "for")
    none = "no data sets yet: `orchestrator data add --opener FILE --name TEXT FOLDER…` adds one"
    tables.show(*columns, rows=rows, none=none, whole=("data set", "samples"))
