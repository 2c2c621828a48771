"""The commands of whoever runs the orchestrator: serve, migrate, beat, flower."""

import sys

import click

from beat.settings import BeatSettings
from orchestrator import log
from orchestrator.cli.configuration import configure
from orchestrator.cli.errors import Fault
from orchestrator.settings import DatabaseSettings, FlowerSettings, ServerSettings


@click.command()
def serve() -> None:
    """Serve the gRPC contract until SIGTERM.

    ORCHESTRATOR_DATABASE_URL and ORCHESTRATOR_CHANNEL_CONFIG are enough for plain gRPC; without
    ORCHESTRATOR_BROKER_URL nothing is dispatched to workers.
    """
    settings = configure(ServerSettings)
    log.configure(settings.log_level)
    from orchestrator import server

    try:
        server.serve(settings)
    except server.StartError as error:
        raise Fault(str(error)) from error


@click.command()
def migrate() -> None:
    """Bring the database of ORCHESTRATOR_DATABASE_URL up to date."""
    settings = configure(DatabaseSettings)
    log.configure(settings.log_level)
    from sqlalchemy.exc import SQLAlchemyError

    import migrations

    url = settings.database_url.get_secret_value()
    try:
        before, newest = migrations.lag(url)
        migrations.upgrade(url)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise Fault(f"the database of ORCHESTRATOR_DATABASE_URL could not be migrated: {reason}") from error
    click.echo(f"revision {newest}" + ("" if before != newest else ", nothing to do"))


@click.command()
@click.option("--schedule/--no-schedule", default=True, help="Whether to fire the sweeps too, or only to run them.")
def beat(schedule: bool) -> None:
    """Run the maintenance worker and, in it, Celery beat: the sweeps that nothing is lost without.

    Any number may run: sweeps are harmless.
    """
    settings = configure(BeatSettings)
    from beat import app

    sys.exit(app.main(settings, schedule))


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

    accounts = [pokes.MAINTENANCE, *map(pokes.account, settings.organizations)]
    app = monitor.flower_app(settings.broker_url.get_secret_value(), accounts)
    app.start(["flower", *arguments])
