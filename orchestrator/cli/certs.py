"""The command `certs`: certificate authorities and certificates of a network, for trying things out."""

from pathlib import Path

import click

from orchestrator.cli.errors import Fault

_LOCAL = ("localhost", "127.0.0.1")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--org", "orgs", multiple=True, required=True, metavar="ID", help="An organization; repeat it.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help=f"DNS name or IP address of the orchestrator and the asset stores; repeat it. Default: {', '.join(_LOCAL)}.",
)
def certs(folder: Path, orgs: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    """Make an authority for the orchestrator and one per organization in FOLDER, and their certificates.

    Files that are there and still good are kept. All keys lie in one folder, which suits a machine of your own: in a
    network, each organization makes its own authority at home, and gives away its ca.crt only.
    """
    from orchestrator.embedded.certificates import lay_out

    try:
        layout = lay_out(folder.absolute(), orgs, hosts or _LOCAL)
    except (ValueError, OSError) as error:
        raise Fault(str(error)) from error
    server = layout.server
    click.echo("The orchestrator (`orchestrator serve`):")
    _settings(
        TLS_ENABLED="true",
        TLS_CERT_PATH=server.certificate,
        TLS_KEY_PATH=server.key,
        TLS_SERVER_CA_CERT=server.authority,
        MTLS_ENABLED="true",
        TLS_CLIENT_CA_CERT_DIR=layout.client_authorities,
        VERIFY_CLIENT_MSP_ID="true",
    )
    for org in orgs:
        client, store = layout.client(org), layout.store(org)
        click.echo(f"\n{org} (`orchestrator worker`, `orchestrator store`, clients):")
        _settings(
            ORGANIZATION=org,
            CLIENT_CA_CERT=client.authority,
            CLIENT_CERT=client.certificate,
            CLIENT_KEY=client.key,
            PEER_CA_CERT=layout.peer(org).authority,
            STORE_CERT=store.certificate,
            STORE_KEY=store.key,
            TLS_CLIENT_CA_CERT_DIR=layout.client_authorities,
        )


def _settings(**values: object) -> None:
    for name, value in values.items():
        click.echo(f"  ORCHESTRATOR_{name}={value}")
