"""As whom a command acts on the federation that runs here, where nobody has said: as one that may."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.cli.connection import Access, connect

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.client import Client


def as_one_of(access: Access, *organizations: str) -> Access:
    """Return the access of the first of some organizations that takes part in the federation that runs here.

    Args:
        access: stays as it is where it is one of them, where somebody has said as whom, or where none takes part.
        organizations: who may do what is asked for.
    """
    if access.here is None or access.organization in organizations:
        return access
    for name in organizations:
        if name in access.here.organizations:
            certificates = replace(access.here.certificates(name), peers=access.peers)
            return replace(access, organization=name, certificates=certificates)
    return access


@contextmanager
def acting(access: Access, client: "Client", *organizations: str) -> "Iterator[Client]":
    """Give a connection as one of some organizations, as `as_one_of` says.

    Args:
        access: of the connection that there is.
        client: that connection.
        organizations: who may do what is asked for.

    Raises:
        RemoteFault: the orchestrator or an asset store cannot be reached, or refused.
    """
    other = as_one_of(access, *organizations)
    if other is access:
        yield client
    else:
        with connect(other) as theirs:
            yield theirs


def readers(owner: str, permission: "pb.Permission") -> tuple[str, ...]:
    """Return who may read an asset, its owner first."""
    return (owner, *sorted({*permission.authorized_ids} - {owner}))


def where_it_waits(access: Access, matters: "Callable[[pb.Decline], bool]") -> tuple[Access, list[str]]:
    """Return the access of an organization whose consent something waits for, and the names of the others.

    Args:
        access: stays as it is where it is one of them, where somebody has said as whom, or where nothing waits.
        matters: says of a task that was declined whether it is meant.

    Raises:
        RemoteFault: the orchestrator cannot be reached, or refused.
    """
    if access.here is None:
        return access, []
    with connect(access) as client:
        from orchestrator.cli import declines

        names = dict.fromkeys(each.worker for each in declines.of_channel(client) if matters(each))
    chosen = as_one_of(access, *names)
    return chosen, [name for name in names if name != chosen.organization]
