"""The command `broker`: accounts of the organizations on a broker."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from orchestrator.broker.limits import Limits
from orchestrator.broker.settings import ProvisionSettings
from orchestrator.cli.configuration import configure
from orchestrator.cli.errors import Fault, RemoteFault
from orchestrator.cli.group import Group

Command = Callable[..., Any]


@click.group(cls=Group)
def broker() -> None:
    """Set up the broker that carries the pokes."""


def _limit(option: str, name: str, text: str) -> Callable[[Command], Command]:
    return click.option(
        option, name, type=click.IntRange(min=1), default=getattr(Limits, name), show_default=True, help=text
    )


@broker.command()
@click.option("--org", "orgs", multiple=True, metavar="ID", help="An organization; repeat it.")
@click.option("--queue", "others", multiple=True, metavar="NAME", help="A queue of another kind of work; repeat it.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to keep the URLs in, with mode 0600; passwords and organizations that are there are kept. "
    "Without it they are printed, and passwords are new each time.",
)
@click.option("--address", metavar="HOST:PORT", help="Of the broker in those URLs, where workers reach it by another.")
@click.option("--rabbitmqctl", default="rabbitmqctl", show_default=True, help="The program, on a RabbitMQ's machine.")
@click.option(
    "--management",
    metavar="URL",
    help="A RabbitMQ's management API, as in https://host:15671, to use instead; needs that plugin.",
)
@_limit("--max-connections", "connections", "Connections of an account on RabbitMQ; a node of a worker has three.")
@_limit("--max-channels", "channels", "Channels of an account on RabbitMQ.")
@_limit("--max-queues", "queues", "Queues in a vhost; a node of a worker has one.")
@_limit("--max-messages", "messages", "Messages in a queue on RabbitMQ.")
@_limit("--max-bytes", "size", "Bytes of the messages in a queue on RabbitMQ.")
def provision(
    orgs: tuple[str, ...],
    others: tuple[str, ...],
    output: Path | None,
    address: str | None,
    rabbitmqctl: str,
    management: str | None,
    **most: int,
) -> None:
    """Give each organization an account of its own on the broker of ORCHESTRATOR_BROKER_URL.

    On Redis or Valkey that is an ACL user for the organization's keys and channels; on RabbitMQ a vhost and its user,
    set up by rabbitmqctl, which needs no plugin. None can read or write another's queue. The maintenance worker and
    Flower have accounts too, and so has each --queue. It may be repeated: the same accounts are set up again.

    The file of --output is what ORCHESTRATOR_BROKER_URLS of `orchestrator serve` wants. Give each organization its
    own line only, for ORCHESTRATOR_BROKER_URL of its workers.
    """
    settings = configure(ProvisionSettings)
    import redis

    from orchestrator.broker import credentials as broker_credentials
    from orchestrator.broker.provision import provision as set_up
    from orchestrator.broker.rabbitmq_accounts import RabbitMQError
    from orchestrator.files.whole import about_to_write

    url = settings.broker_url.get_secret_value()
    try:
        known = broker_credentials.read(output) if output else None
        if not orgs and known is None:
            raise click.UsageError("name at least one organization with --org")
        made = broker_credentials.make(_at(url, address), orgs, known, others)
        # The file is written when what it says is true; until then, or if this is killed, the old one is there, and
        # this may be repeated.
        with about_to_write(output, made.dump().encode()) if output else nullcontext():
            advice = set_up(url, made, rabbitmqctl=rabbitmqctl, management_url=management, limits=Limits(**most))
    except redis.RedisError as error:
        raise RemoteFault(f"the broker of ORCHESTRATOR_BROKER_URL did not take the accounts: {error}") from error
    except RabbitMQError as error:
        raise RemoteFault(f"the broker did not take the accounts: {error}") from error
    except (ValueError, OSError) as error:
        raise Fault(str(error)) from error
    if output:
        click.echo(f"{len(made.organizations)} organizations have accounts; their URLs are in {output}")
    else:
        click.echo(made.dump(), nl=False)
    for sentence in advice:
        click.echo(sentence, err=True)


def _at(url: str, address: str | None) -> str:
    """Return the URL with another host and port."""
    from urllib.parse import urlsplit

    if address is None:
        return url
    return urlsplit(url)._replace(netloc=address).geturl()
