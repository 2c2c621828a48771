"""What everybody may know of leases: how long an attempt lives, and what silence means."""

from dataclasses import dataclass
from datetime import timedelta

SILENT_LEASES = 2
"""A node that was not heard for so many leases has stopped, or cannot reach the orchestrator."""


@dataclass(frozen=True)
class Rules:
    """What the settings say of leases.

    Args:
        lease: how long an attempt is believed to live without a heartbeat.
    """

    lease: timedelta = timedelta(seconds=60)

    @property
    def gap(self) -> timedelta:
        """How long the orchestrator may be away without ending a lease: nodes renew it after a third of its length."""
        return self.lease / 3

    @property
    def silence(self) -> timedelta:
        """How long nothing is heard of an organization's nodes before nobody seems to be there."""
        return SILENT_LEASES * self.lease
