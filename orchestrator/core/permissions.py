"""Who may use an asset: everyone, or the organizations named."""

from collections.abc import Collection

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError


def grant(asked: pb.NewPermissions, owner: str, organizations: Collection[str]) -> pb.Permission:
    """Return the permission that a client asked for, with its owner in it.

    Args:
        asked: as the client wrote it.
        owner: appended when absent.
        organizations: those registered in the channel.

    Raises:
        BadRequestError: an organization is not registered.
    """
    unknown = [name for name in asked.authorized_ids if name not in organizations]
    if unknown:
        raise BadRequestError(f"permissions name {', '.join(map(repr, unknown))}, not registered in this channel")
    names = list(dict.fromkeys(asked.authorized_ids))
    if owner not in names:
        names.append(owner)
    return pb.Permission(public=asked.public, authorized_ids=names)


def grant_both(asked: pb.NewPermissions, owner: str, organizations: Collection[str]) -> pb.Permissions:
    """Return the same grant for processing and for downloading; see `grant`."""
    permission = grant(asked, owner, organizations)
    return pb.Permissions(process=permission, download=permission)


def allows(permission: pb.Permission, organization: str) -> bool:
    """Tell whether an organization is covered by a permission."""
    return permission.public or organization in permission.authorized_ids


def users(permission: pb.Permission) -> str:
    """Return for people who is covered by a permission."""
    return "all of the channel" if permission.public else ", ".join(sorted(permission.authorized_ids))


def union(first: pb.Permission, second: pb.Permission) -> pb.Permission:
    """Return what covers everyone that one of both covers."""
    if first.public or second.public:
        return pb.Permission(public=True)
    return pb.Permission(authorized_ids=dict.fromkeys((*first.authorized_ids, *second.authorized_ids)))


def intersection(first: pb.Permission, second: pb.Permission) -> pb.Permission:
    """Return what covers only those that both cover."""
    if first.public and second.public:
        return pb.Permission(public=True)
    if first.public or second.public:
        return pb.Permission(authorized_ids=(second if first.public else first).authorized_ids)
    return pb.Permission(authorized_ids=[name for name in first.authorized_ids if name in second.authorized_ids])
