"""The command `token`: bearer tokens for callers of the HTTP API that have no certificate."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import Fault
from orchestrator.cli.group import Group

if TYPE_CHECKING:
    from orchestrator.store.connection import Connection

_DAYS = 90
_MOST_DAYS = 3660


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke bearer tokens in the database of ORCHESTRATOR_DATABASE_URL.

    Whoever has a token acts for its organization. It counts where ORCHESTRATOR_API_IDENTITY names `token`.
    """


@token.command()
@click.option("--org", required=True, metavar="ID", help="The organization for which it speaks.")
@click.option(
    "--channel", "channels", multiple=True, required=True, metavar="NAME", help="A channel in which; repeat it."
)
@click.option(
    "--days", type=click.IntRange(1, _MOST_DAYS), default=_DAYS, show_default=True, help="How long it counts."
)
def create(org: str, channels: tuple[str, ...], days: int) -> None:
    """Make a token and show it, once: the database keeps only a hash.

    The token alone goes to the standard output. Whether a channel is open to the organization is not looked at here,
    but at each call.
    """
    from orchestrator.access import tokens

    with _transaction() as (connection, now):
        made, shown = tokens.create(connection, org, frozenset(channels), now, now + timedelta(days=days))
    click.echo(shown)
    click.echo(
        f"token {made.id} speaks for {org} in {', '.join(sorted(channels))} until {made.ends_at:%Y-%m-%d %H:%M} UTC; "
        "it is not shown again",
        err=True,
    )


@token.command("list")
def list_tokens() -> None:
    """List the tokens that were ever made, and which of them count."""
    from orchestrator.access import tokens
    from orchestrator.cli.tables import console, table

    with _transaction() as (connection, now):
        made = tokens.get_all(connection)
    rows = (
        (
            each.id,
            each.organization,
            ", ".join(sorted(each.channels)),
            f"{each.created_at:%Y-%m-%d}",
            f"{each.ends_at:%Y-%m-%d %H:%M}",
            "revoked" if each.revoked_at else "ended" if each.refused(now) else "counts",
        )
        for each in made
    )
    console().print(
        table("token", "organization", "channels", "made", "ends (UTC)", "state", rows=rows, whole=("token", "state"))
    )


@token.command()
@click.argument("identity", metavar="TOKEN")
def revoke(identity: str) -> None:
    """Refuse a token from the next call on; TOKEN is its id, as `list` shows it."""
    from orchestrator.access import tokens
    from orchestrator.core.errors import NotFoundError

    try:
        with _transaction() as (connection, now):
            revoked = tokens.revoke(connection, identity, now)
    except NotFoundError as error:
        raise Fault(str(error).removeprefix(f"{error.code}: ")) from error
    click.echo(f"token {revoked.id} of {revoked.organization} is revoked")


@contextmanager
def _transaction() -> "Iterator[tuple[Connection, datetime]]":
    """Begin a transaction; give its connection, and the time by the database's clock, which tokens end by."""
    from orchestrator.cli.database import opened

    with opened() as database, database.begin() as connection:
        yield connection, database.measure(connection)
