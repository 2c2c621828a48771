"""The commands of an operator about all executions: clean-topics, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

if TYPE_CHECKING:
    from orchestrator.executions.moving.move import Moved
    from workers.runtime.kafka import Kafka

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


@click.group(cls=Connected)
@connection_options
@click.pass_context
def executions(context: click.Context, /, **options: Any) -> None:
    """Look after what executions leave behind, and take over those of another service."""
    context.obj = Target(**options)


@executions.command("clean-topics")
@click.option("--dry-run", is_flag=True, help="Delete nothing, and print what would be.")
@_JSON
@click.pass_obj
def clean_topics(target: Target, dry_run: bool, as_json: bool) -> None:
    """Delete the Kafka topics of executions that have succeeded, have failed or were deleted.

    It is told of Kafka what `orchestrator runtime` is told (KAFKA_BOOTSTRAP_SERVERS, …), and acts for the organization
    whose runtimes run the executions. Topics of others, the topic `status`, and those of executions that are pending or
    running stay. It prints each topic that it has deleted, and may be run by cron.
    """
    from orchestrator import protos as pb
    from orchestrator.cli import reading
    from workers.runtime.errors import RefusedError, UnreachableError
    from workers.runtime.kafka import pair

    topics = _topics()
    deleted: list[str] = []
    try:
        with connect(target.resolve()) as client:
            there = list(topics.names())
            old = client.topics.FindOldTopics(pb.FindOldTopicsParam(topics=there)).communication_adapters
            for adapter in old:
                gone = [name for name in pair(adapter) if name in there] if dry_run else topics.remove(adapter)
                deleted += gone
                if not as_json:
                    for name in gone:
                        click.echo(name)
                if not dry_run:
                    # One by one: what comes in between leaves nothing that is not known.
                    client.topics.ForgetTopics(pb.ForgetTopicsParam(communication_adapters=[adapter]))
    except (RefusedError, UnreachableError) as error:
        raise RemoteFault(str(error)) from error
    if as_json:
        reading.print_json({"deleted": deleted, "dry_run": dry_run})
        return
    verb = "would be deleted" if dry_run else "deleted"
    click.echo(f"{len(deleted)} topics of {len(old)} executions {verb}", err=True)


def _topics() -> "Kafka":
    from workers.runtime.kafka import Kafka, KafkaSettings

    try:
        return Kafka(configure(KafkaSettings))
    except ImportError as error:
        raise UsageFault(str(error)) from error


@executions.command("import")
@click.argument("url")
@click.option(
    "--source-token",
    envvar="ORCHESTRATOR_SOURCE_TOKEN",
    show_envvar=True,
    help="A bearer token, where the other service asks for one.",
)
@click.option(
    "--source-ca-cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CA certificates of the other service, for https.",
)
@click.option(
    "--incomplete",
    is_flag=True,
    help="Import executions too of which a file, or what was sent for a data partner, cannot be read.",
)
@_JSON
@click.pass_obj
def import_executions(
    target: Target, url: str, source_token: str | None, source_ca_cert: Path | None, incomplete: bool, as_json: bool
) -> None:
    """Import all schemas and executions of the running service at URL, below which its `/api/` lies.

    They keep their names, ids, files, states and dates, and nothing is started. It may be repeated, before the clients
    change over and after: what is here already stays, and goes on to the state that it has there. Executions that run
    meanwhile report here under the ids that they have, and new ones get ids above those that came.

    It writes to the database of ORCHESTRATOR_DATABASE_URL and to MEDIA_ROOT, as the role that migrates, in the channel
    ORCHESTRATOR_API_CHANNEL for ORCHESTRATOR_API_ORGANIZATION, or as --channel and --org say. What cannot be read is
    told, and the exit code is then 1.
    """
    from orchestrator.cli import importing, reading

    organization, channel = importing.caller(target)
    with importing.here() as (database, files), importing.elsewhere(url, source_token, source_ca_cert) as source:
        moved = importing.run(source, database, files, organization, channel, incomplete=incomplete)
    if as_json:
        reading.print_json(vars(moved))
    else:
        _print(moved)
    if moved.left:
        raise Fault(f"{len(moved.left)} things could not be imported")


def _print(moved: "Moved") -> None:
    from orchestrator.client.printing import printable

    click.echo(
        f"{moved.schemas} schemas and {moved.executions} executions imported, with {moved.files} files "
        f"({moved.size / 1e6:.1f} MB); {moved.updated} executions have gone on, {moved.there} were here already"
    )
    for line in moved.left:
        click.echo(printable(line), err=True)
