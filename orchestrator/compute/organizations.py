"""Organizations: the members of a channel."""

from sqlalchemy.dialects.postgresql import insert

from orchestrator import protos as pb
from orchestrator.compute import validation
from orchestrator.core.errors import ConflictError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables
from orchestrator.store.statements import statement


def register(transaction: Transaction, new: pb.RegisterOrganizationParam) -> pb.Organization:
    """Register the caller in its channel.

    Raises:
        ConflictError: it is registered there.
    """
    validation.check_organization(new)
    organization = pb.Organization(
        id=transaction.organization, address=new.address, creation_date=timestamp(transaction.now)
    )
    kept = transaction.connection.execute(
        insert(tables.organizations)
        .values(
            channel=transaction.channel,
            id=organization.id,
            created_at=transaction.now,
            message=organization.SerializeToString(),
        )
        .on_conflict_do_nothing()
        .returning(tables.organizations.c.id)
    )
    if kept.scalar_one_or_none() is None:
        raise ConflictError(f"organization {organization.id} exists already")
    transaction.events.created(organization.id, organization)
    return organization


# Each download of what is public asks it.
_ALL = statement("SELECT message FROM organizations WHERE channel = :channel ORDER BY created_at, id")


def get_all(transaction: Transaction, _: pb.GetAllOrganizationsParam) -> pb.GetAllOrganizationsResponse:
    """List the channel's organizations in the order in which they came."""
    messages = transaction.connection.execute(_ALL, {"channel": transaction.channel}).scalars()
    return pb.GetAllOrganizationsResponse(organizations=[pb.Organization.FromString(message) for message in messages])


_NAMES = statement("SELECT id FROM organizations WHERE channel = :channel")


def names(transaction: Transaction) -> set[str]:
    """Return the ids of the channel's organizations."""
    return set(transaction.connection.execute(_NAMES, {"channel": transaction.channel}).scalars())
