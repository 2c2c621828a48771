"""The commands that check the orchestrator's word: check."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connection import Target, connect, connection_options
from orchestrator.cli.errors import Fault, RemoteFault

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.client import Client
    from orchestrator.core.violations import Violation

_NEWEST = 1000
_PATIENCE = 60.0


@click.group()
@connection_options
@click.pass_context
def audit(context: click.Context, /, **options: Any) -> None:
    """Check what the orchestrator tells."""
    context.obj = Target(**options)


@audit.command()
@click.option(
    "--database",
    is_flag=True,
    help="Check the rows too, for whoever runs the orchestrator: in the database of ORCHESTRATOR_DATABASE_URL.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def check(target: Target, database: bool, as_json: bool) -> None:
    """Check that the trace of a channel can be true: exit code 0 when it can, 1 with what is wrong when it cannot.

    It reads all events of the channel, up to the last one that exists when it begins.
    """
    access = target.resolve()
    settings = _settings() if database else None
    count, found = 0, []

    def note(violation: "Violation") -> None:
        found.append(violation)
        if not as_json:
            click.echo(_line(violation))

    with connect(access) as client:
        from orchestrator.core.history import History

        history = History()
        for event in _events(client):
            count += 1
            for violation in history.see(event):
                note(violation)
        for violation in history.end():
            note(violation)
    for violation in _rows(settings, access.channel) if settings else ():
        note(violation)
    if as_json:
        from dataclasses import asdict

        from orchestrator.cli.reading import print_json

        print_json({"channel": access.channel, "events": count, "violations": [asdict(each) for each in found]})
    rows = " and the rows" if database else ""
    if found:
        raise Fault(f"the {count} events{rows} of channel {access.channel} cannot be true: {len(found)} violations")
    if not as_json:
        click.echo(f"the {count} events{rows} of channel {access.channel} keep every promise")


def _events(client: "Client") -> "Iterator[pb.Event]":
    """Yield the events of the channel in the order of readers, up to the last that exists now.

    Nobody tells which one that is, but it is among the newest by time; calls are told whole, so it ends one.
    """
    import grpc

    from orchestrator import protos as pb
    from orchestrator.client import CallError

    newest = client.events.QueryEvents(pb.QueryEventsParam(sort=pb.DESCENDING, page_size=_NEWEST))
    missing = {event.id for event in newest.events}
    last = ""
    while missing:
        begin = last
        stream = client.events.SubscribeToEvents(pb.SubscribeToEventsParam(start_event_id=last), timeout=_PATIENCE)
        try:
            for event in stream:
                last = event.id
                missing.discard(last)
                yield event
                if not missing:
                    return
        except grpc.RpcError as error:
            failure = CallError.of(error)
            if failure.status != grpc.StatusCode.DEADLINE_EXCEEDED or last == begin:
                raise failure from error
        finally:
            stream.cancel()


def _settings() -> Any:
    from pydantic import Field

    from orchestrator.settings import BeatSettings, DatabaseSettings, Duration

    class AuditSettings(DatabaseSettings):
        poke_retention: Duration = Field(BeatSettings.model_fields["poke_retention"].default)

    return configure(AuditSettings)


def _rows(settings: Any, channel: str) -> "Iterator[Violation]":
    from sqlalchemy.exc import SQLAlchemyError

    from orchestrator.services import audit
    from orchestrator.store.database import Database

    database = Database(settings.database_url.get_secret_value(), pool_size=1)
    try:
        yield from audit.check(database, channel, timedelta(seconds=settings.poke_retention))
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise RemoteFault(f"the database of ORCHESTRATOR_DATABASE_URL could not be read: {reason}") from error
    finally:
        database.close()


def _line(violation: "Violation") -> str:
    from orchestrator.client.display import printable

    where = f" (event {violation.event_id})" if violation.event_id else ""
    about = f"{violation.asset_key}: " if violation.asset_key else ""
    return printable(f"{violation.rule}: {about}{violation.words}{where}")
