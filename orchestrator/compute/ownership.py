"""Who may change an asset: its owner."""

from typing import Protocol

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.engine.transaction import Transaction


class Owned(Protocol):
    """An asset with an owner."""

    key: str
    owner: str


def check_owner(transaction: Transaction, noun: str, asset: Owned) -> None:
    """Check that the caller owns an asset.

    Raises:
        PermissionDeniedError: somebody else does.
    """
    if asset.owner != transaction.organization:
        raise PermissionDeniedError(
            f"{noun} {asset.key} belongs to {asset.owner}, so {transaction.organization} may not change it"
        )
