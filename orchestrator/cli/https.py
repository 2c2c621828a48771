"""TLS to the HTTP services of the products, as their commands are told of it."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.errors import UsageFault

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--token", envvar="ORCHESTRATOR_TOKEN", show_envvar=True, help="A bearer token, where the service asks for one."
    ),
    click.option(
        "--ca-cert",
        type=_FILE,
        envvar="ORCHESTRATOR_CLIENT_CA_CERT",
        show_envvar=True,
        help="CA certificates of the service, for https.",
    ),
    click.option(
        "--cert",
        type=_FILE,
        envvar="ORCHESTRATOR_CLIENT_CERT",
        show_envvar=True,
        help="Your certificate, where the service asks for one; needs --key.",
    ),
    click.option(
        "--key", type=_FILE, envvar="ORCHESTRATOR_CLIENT_KEY", show_envvar=True, help="The key of your certificate."
    ),
)
"""Who calls a service, and whom to trust there."""


def trust(root: str, authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | bool:
    """Return whom a client of a service trusts, as httpx takes it: without a file, whom the system does.

    Args:
        root: URL of the service.
        authority: a file of CA certificates.
        certificate: our own.
        key: its key.

    Raises:
        UsageFault: a file cannot be used.
    """
    if not root.startswith("https://"):
        return True
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageFault(f"--ca-cert, --cert or --key cannot be used: {error}") from error
    return context
