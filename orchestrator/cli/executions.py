"""The commands of an operator about all executions: clean-topics, import."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connection import Connected, Target, connect, connection_options
from orchestrator.cli.errors import RemoteFault, UsageFault

if TYPE_CHECKING:
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
