"""The commands that check the orchestrator's word: check."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, RemoteFault

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.audit.violations import Violation
    from orchestrator.client import Client

_NEWEST = 1000
_PATIENCE = 60.0


@click.group(cls=Connected)
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

    It reads all events of the channel that are kept, up to the last one that exists when it begins.
    """
    access = target.resolve()
    settings = _settings() if database else None
    count, found = 0, []

    def note(violation: "Violation") -> None:
        found.append(violation)
        if not as_json:
            click.echo(_line(violation))

    with connect(access) as client:
        from orchestrator.audit.history import History

        trace = _Trace(client)
        history = History(trace.forgotten_until)
        for event in trace:
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

        until = trace.forgotten_until.isoformat() if trace.forgotten_until else None
        violations = [asdict(each) for each in found]
        print_json({"channel": access.channel, "forgotten_until": until, "events": count, "violations": violations})
    checked = f"the {count} events{' and the rows' if database else ''} of channel {access.channel}"
    if found:
        raise Fault(f"{checked} cannot be true: {len(found)} violations")
    if not as_json:
        click.echo(f"{checked} keep every promise")
        if trace.forgotten_until:
            click.echo(f"earlier events, up to {trace.forgotten_until:%Y-%m-%d %H:%M:%S %Z}, were forgotten")


class _Trace:
    """The events of a channel in the order of readers, up to the last that exists when it is made.

    Nobody tells which one that is, but it is among the newest by time; calls are told whole, so it ends one.

    `forgotten_until` is the latest time of those that were forgotten, None where the trace is whole.
    """

    def __init__(self, client: "Client") -> None:
        from orchestrator import protos as pb
        from orchestrator.core.headers import FORGOTTEN_UNTIL

        self._client = client
        newest = client.events.QueryEvents(pb.QueryEventsParam(sort=pb.DESCENDING, page_size=_NEWEST))
        self._missing = {event.id for event in newest.events}
        self._stream = self._subscribe("") if self._missing else None
        told = dict(self._stream.initial_metadata()).get(FORGOTTEN_UNTIL) if self._stream else None
        self.forgotten_until = datetime.fromisoformat(str(told)) if told else None

    def _subscribe(self, start: str) -> Any:
        from orchestrator import protos as pb

        return self._client.events.SubscribeToEvents(pb.SubscribeToEventsParam(start_event_id=start), timeout=_PATIENCE)

    def __iter__(self) -> "Iterator[pb.Event]":
        import grpc

        from orchestrator.client import CallError

        last = ""
        while self._stream and self._missing:
            begin = last
            try:
                for event in self._stream:
                    last = event.id
                    self._missing.discard(last)
                    yield event
                    if not self._missing:
                        return
            except grpc.RpcError as error:
                failure = CallError.of(error)
                if failure.status != grpc.StatusCode.DEADLINE_EXCEEDED or last == begin:
                    raise failure from error
            finally:
                self._stream.cancel()
            self._stream = self._subscribe(last)


def _settings() -> Any:
    from pydantic import Field

    from beat.settings import BeatSettings
    from orchestrator.settings import DatabaseSettings, Duration

    class AuditSettings(DatabaseSettings):
        poke_retention: Duration = Field(BeatSettings.model_fields["poke_retention"].default)
        attempt_retention: Duration | None = Field(BeatSettings.model_fields["attempt_retention"].default)

    return configure(AuditSettings)


def _rows(settings: Any, channel: str) -> "Iterator[Violation]":
    import psycopg

    from orchestrator.audit import stored
    from orchestrator.core.errors import UnavailableError
    from orchestrator.engine.transaction import Database
    from orchestrator.store import connecting

    if settings.database_pooling == "transaction":
        connecting.share_sessions()
    database = Database(settings.url, pool_size=1)
    try:
        attempts = settings.attempt_retention
        yield from stored.check(
            database,
            channel,
            timedelta(seconds=settings.poke_retention),
            timedelta(seconds=attempts) if attempts is not None else None,
        )
    except (psycopg.Error, UnavailableError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise RemoteFault(f"the database of ORCHESTRATOR_DATABASE_URL could not be read: {reason}") from error
    finally:
        database.close()


def _line(violation: "Violation") -> str:
    from orchestrator.client.printing import printable

    where = f" (event {violation.event_id})" if violation.event_id else ""
    about = f"{violation.asset_key}: " if violation.asset_key else ""
    return printable(f"{violation.rule}: {about}{violation.words}{where}")
