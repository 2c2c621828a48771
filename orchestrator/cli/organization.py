"""The commands of an organization's administrator: worker, store, runtime, and org."""

import sys
from typing import Any

import click

from orchestrator.cli.configuration import configure
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, UsageFault

_ORG = click.option("--org", metavar="ID", help="The organization; else ORCHESTRATOR_ORGANIZATION.")


@click.command()
@_ORG
@click.option("--concurrency", type=int, metavar="N", help="Tasks run at once; else ORCHESTRATOR_CONCURRENCY (1).")
def worker(org: str | None, concurrency: int | None) -> None:
    """Run an organization's worker: it takes the tasks of that organization's queue, beside its data.

    SIGTERM lets running tasks end for ORCHESTRATOR_DRAIN_SECONDS, a second one or SIGQUIT for no longer; what still
    runs then is ended and To do again at once.
    """
    from orchestrator.core.documents import DocumentError
    from orchestrator.health import AddressError
    from orchestrator.telemetry.switch import SwitchError
    from workers.executors.executor import UnfitError
    from workers.node import app
    from workers.settings import WorkerSettings

    try:
        code = app.main(configure(WorkerSettings, organization=org, concurrency=concurrency))
    except DocumentError as error:
        raise UsageFault(str(error)) from error
    except (UnfitError, AddressError, SwitchError) as error:
        raise Fault(str(error)) from error
    sys.exit(code)


@click.command()
@_ORG
def store(org: str | None) -> None:
    """Serve an organization's functions, openers, models and logs to its peers, over HTTPS with mutual TLS.

    From the organization's own people it takes uploads of functions, openers and data samples.
    """
    from workers.assets import store_server
    from workers.assets.settings import StoreSettings

    sys.exit(store_server.serve(configure(StoreSettings, organization=org)))


@click.command()
@_ORG
def runtime(org: str | None) -> None:
    """Run a runtime of executions: it places workflows at Argo, ends them, and makes the topics of federated ones.

    It alone knows the credentials of Argo and Kafka; any number may run. SIGTERM has it take nothing more, and end when
    what it does is done.
    """
    from orchestrator.health import AddressError
    from orchestrator.telemetry.switch import SwitchError
    from workers.runtime import app
    from workers.runtime.argo import ArgoSettings
    from workers.runtime.kafka import KafkaSettings
    from workers.runtime.settings import RuntimeSettings

    settings = configure(RuntimeSettings, organization=org), configure(ArgoSettings), configure(KafkaSettings)
    try:
        code = app.main(*settings)
    except (AddressError, SwitchError, OSError) as error:
        raise Fault(str(error)) from error
    sys.exit(code)


@click.group(cls=Connected)
@connection_options
@click.pass_context
def org(context: click.Context, /, **options: Any) -> None:
    """Register an organization in a channel, and list those that are."""
    context.obj = Target(**options)


@org.command()
@click.option(
    "--address",
    "store_url",
    envvar="ORCHESTRATOR_STORE_URL",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The public https URL of the organization's asset store.",
)
@click.pass_obj
def register(target: Target, store_url: str) -> None:
    """Register the organization in the channel, with the address of its asset store.

    The others fetch its functions, openers and models from there alone. An address cannot be changed later; to register
    the same one again does no harm.
    """
    from workers.assets.addresses import check_store_url

    try:
        store_url = check_store_url(store_url)
    except ValueError as error:
        raise UsageFault(f"--address {store_url!r} is {error}") from error
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.client import StoreError

        try:
            client.register_organization(store_url)
        except StoreError as error:
            raise Fault(str(error)) from error
    click.echo(f"{access.organization} is registered in {access.channel}; its assets are fetched from {store_url}")


@org.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def list_organizations(target: Target, as_json: bool) -> None:
    """List the organizations of the channel, and where their asset stores are."""
    with connect(target.resolve()) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import reading, tables

        found = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()).organizations
    if as_json:
        reading.print_json({"organizations": [reading.document(each) for each in found]})
        return
    rows = [(each.id, each.address, tables.minute(each.creation_date)) for each in found]
    columns = ("organization", "asset store", "registered")
    none = "no organization is registered yet: `orchestrator org register` registers one"
    tables.show(*columns, rows=rows, none=none, whole=columns[2:])
