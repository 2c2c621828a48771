"""The commands of whoever runs the orchestrator: serve, migrate, beat, flower."""

import signal
import sys
import time
from contextlib import suppress
from types import FrameType

import click

from beat.settings import BeatSettings
from orchestrator import log
from orchestrator.broker.settings import FlowerSettings
from orchestrator.cli.configuration import configure
from orchestrator.cli.errors import Fault
from orchestrator.settings import DatabaseSettings, ServerSettings

_WAIT_SECONDS = 1.0
# The arguments are what people call a task, and its plan; a poke's own id says nothing to anybody.
_COLUMNS = "--tasks_columns=args,kwargs,state,received,runtime,worker,name,uuid"


@click.command()
@click.option(
    "--processes",
    type=int,
    metavar="N",
    help="Server processes that share the addresses; else ORCHESTRATOR_PROCESSES, else 1.",
)
def serve(processes: int | None) -> None:
    """Serve the gRPC contract until SIGTERM.

    ORCHESTRATOR_DATABASE_URL and ORCHESTRATOR_CHANNEL_CONFIG are enough for plain gRPC; without
    ORCHESTRATOR_BROKER_URL nothing is dispatched to workers. Of several processes each has all limits of the settings
    for itself; one that dies is started again.
    """
    settings = configure(ServerSettings, processes=processes)
    log.configure_process(settings.log_level)
    from orchestrator.starting import StartError

    try:
        if settings.processes > 1:
            from orchestrator import supervisor

            sys.exit(0 if supervisor.supervise(settings) else 1)
        from orchestrator import server

        server.serve(settings)
    except StartError as error:
        raise Fault(str(error)) from error


@click.command()
@click.option("--expand", "what", flag_value="expand", help="Only what code of the release before runs on too.")
@click.option("--contract", "what", flag_value="contract", help="All, once no older code runs any more.")
@click.option(
    "--check", "what", flag_value="check", help="Change nothing; exit code 1 if this release cannot run on it."
)
@click.option("--wait", "what", flag_value="wait", help="Change nothing; end when this release can run on it.")
def migrate(what: str | None) -> None:
    """Bring the database of ORCHESTRATOR_DATABASE_URL up to date.

    Without an option, all at once: for a new database, or while nothing runs. Each revision is a transaction, so it can
    be interrupted and repeated.
    """
    settings = configure(DatabaseSettings)
    log.configure(settings.log_level)
    # By default the first process of a container, or of a pod, takes no notice of it.
    signal.signal(signal.SIGTERM, _end)
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    import migrations
    from orchestrator.store import pooling

    url = settings.direct_url
    try:
        if what == "wait":
            _await_tables(url)
        elif what != "check":
            pooling.check(url, settings.database_pooling, url)
            half: migrations.Half | None = "expand" if what == "expand" else "contract" if what == "contract" else None
            migrations.upgrade(url, half, click.echo)
        state = migrations.state(url)
    except pooling.PoolingError as error:
        raise Fault(str(error)) from error
    except (SQLAlchemyError, psycopg.Error, migrations.PendingContractionError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise Fault(f"the database of ORCHESTRATOR_DATABASE_URL could not be migrated: {reason}") from error
    if state.complaint:
        raise Fault(state.complaint)
    click.echo(state.words)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _await_tables(url: str) -> None:
    """Wait until this release runs on the database, or cannot before a newer one does."""
    from sqlalchemy.exc import OperationalError

    import migrations

    told = ""
    while True:
        try:
            state = migrations.state(url)
        except OperationalError:
            complaint = "the database cannot be reached"
        else:
            complaint = state.complaint
            if not complaint or (state.revision or "") > state.newest:
                return
        if complaint != told:
            click.echo(f"waiting: {complaint}", err=True)
            told = complaint
        time.sleep(_WAIT_SECONDS)


@click.command()
@click.option("--schedule/--no-schedule", default=True, help="Whether to fire the sweeps too, or only to run them.")
def beat(schedule: bool) -> None:
    """Run the maintenance worker and, in it, Celery beat: the sweeps that nothing is lost without.

    Any number may run: sweeps are harmless.
    """
    settings = configure(BeatSettings)
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    import migrations
    from beat import app
    from orchestrator.health import AddressError
    from orchestrator.store.pooling import PoolingError

    # It may start beside the migration, and before the database.
    with suppress(SQLAlchemyError, psycopg.Error):
        state = migrations.state(settings.url)
        if state.left_behind:
            raise Fault(state.complaint)
    try:
        sys.exit(app.main(settings, schedule))
    except (AddressError, PoolingError) as error:
        raise Fault(str(error)) from error


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--org", "orgs", multiple=True, metavar="ID", help="An organization; else ORCHESTRATOR_ORGANIZATIONS.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def flower(orgs: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Show workers and their tasks in a browser (Flower); ARGUMENTS are Flower's own, as in --port=5555.

    On Redis or Valkey it shows the maintenance worker and those of the organizations that are named; on RabbitMQ all
    in the vhost of ORCHESTRATOR_BROKER_URL. FLOWER_BASIC_AUTH=user:password protects it.
    """
    settings = configure(FlowerSettings, organizations=orgs or None)
    from orchestrator.broker import monitor
    from orchestrator.core import pokes

    accounts = [
        pokes.MAINTENANCE,
        *map(pokes.account, settings.organizations),
        *map(pokes.account_of, settings.queues),
    ]
    app = monitor.flower_app(settings.broker_url.get_secret_value(), accounts)
    # Workers obey nothing that Flower could ask for, so it does not offer it; and they send events unasked.
    app.start(["flower", _COLUMNS, *arguments, "--read_only=true", "--enable_events=false"])
