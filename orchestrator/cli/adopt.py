"""The command `adopt`: what another server of the same contract has, moved over to this one's database."""

import time
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connected import remote_options
from orchestrator.cli.connection import connect, remote
from orchestrator.cli.errors import Fault
from orchestrator.settings import DatabaseSettings

if TYPE_CHECKING:
    from orchestrator.adoption.adoption import Progress
    from orchestrator.client import Client
    from orchestrator.engine.transaction import Database

_TOLD_EVERY = 1.0


@click.command()
@click.argument("address")
@remote_options
@click.option("--follow", is_flag=True, help="Go on with what it will tell, until Ctrl-C; nothing is compared.")
@click.option(
    "--switch",
    is_flag=True,
    help="The other server takes no more calls: catch up, compare, and if all is alike ask workers for what is due.",
)
def adopt(address: str, follow: bool, switch: bool, **options: Any) -> None:
    """Read all that the server at ADDRESS has in a channel, by the gRPC contract, into ORCHESTRATOR_DATABASE_URL.

    Events keep their ids and their order, so who has followed that server goes on here after the last event that it
    saw. It changes nothing there, can be interrupted and repeated, and ends with a comparison of every list on both
    sides. No server and no beat of this database may run until the switch.
    """
    if follow and switch:
        raise click.UsageError("--follow ends by Ctrl-C, and --switch when all is here: give one of them")
    settings = configure(DatabaseSettings)
    access = remote(address, **options)
    from orchestrator.adoption.adoption import AdoptionError, Progress, check_at_rest
    from orchestrator.core.errors import OrchestratorError
    from orchestrator.engine.transaction import Database

    progress = Progress()
    database = Database(settings.direct_url, pool_size=2)
    try:
        check_at_rest(database)
        with connect(access) as client:
            _read(client, database, progress, follow, switch)
            alike = _compare(client, database)
        for words in progress.unread:
            click.echo(f"not read: {words}", err=True)
        if not alike:
            raise Fault(
                "the two sides differ: while the other server takes calls that may be what came meanwhile; run it again"
            )
        if switch:
            _switch(database, access.organization, access.channel)
        if progress.unread:
            raise Fault(f"{len(progress.unread)} events could not be read")
    except (AdoptionError, OrchestratorError) as error:
        raise Fault(str(error)) from error
    finally:
        database.close()


def _read(client: "Client", database: "Database", progress: "Progress", endless: bool, at_rest: bool) -> None:
    from orchestrator.adoption import adoption

    said = time.monotonic()

    def tell(*, last: bool = False) -> None:
        nonlocal said
        if last or time.monotonic() - said >= _TOLD_EVERY:
            said = time.monotonic()
            click.echo(f"{progress.events:,} events adopted", err=True)

    try:
        if endless:
            for _ in adoption.follow(client, database, progress):
                tell()
        else:
            adoption.catch_up(client, database, progress, tell, at_rest=at_rest)
    finally:
        tell(last=True)


def _compare(client: "Client", database: "Database") -> bool:
    from orchestrator.adoption import comparison

    alike = True
    click.echo(f"{'':15}{'there':>12}{'here':>12}  differ")
    for each in comparison.compare(client, database):
        alike = alike and not each.differing
        keys = f": {', '.join(each.differ)}{', …' if each.differing > len(each.differ) else ''}" if each.differ else ""
        click.echo(f"{each.noun:15}{each.there:>12,}{each.here:>12,}  {each.differing:,}{keys}")
    return alike


def _switch(database: "Database", organization: str, channel: str) -> None:
    from orchestrator.adoption import switch

    due = database.run(organization, channel, switch.switch)
    click.echo(
        f"channel {channel} is here now: workers are asked for {due.tasks:,} tasks and {due.functions:,} builds as "
        "soon as a server of this database runs"
    )
