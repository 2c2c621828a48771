"""The commands of an organization's administrator: worker and store."""

import sys

import click

from orchestrator.cli.configuration import configure

_ORG = click.option("--org", metavar="ID", help="The organization; else ORCHESTRATOR_ORGANIZATION.")


@click.command()
@_ORG
@click.option("--concurrency", type=int, metavar="N", help="Tasks run at once; else ORCHESTRATOR_CONCURRENCY (1).")
def worker(org: str | None, concurrency: int | None) -> None:
    """Run an organization's worker: it takes the tasks of that organization's queue, beside its data.

    SIGTERM lets running tasks end for ORCHESTRATOR_DRAIN_SECONDS, a second one or SIGQUIT for no longer; what still
    runs then is ended and To do again at once.
    """
    from workers import app
    from workers.settings import WorkerSettings

    sys.exit(app.main(configure(WorkerSettings, organization=org, concurrency=concurrency)))


@click.command()
@_ORG
def store(org: str | None) -> None:
    """Serve an organization's functions, openers, models and logs to its peers, over HTTPS with mutual TLS."""
    from workers import store_server
    from workers.settings import StoreSettings

    sys.exit(store_server.serve(configure(StoreSettings, organization=org)))
