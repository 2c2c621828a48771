"""Who may come in: a channel that is open to the organization, and certificates that speak for it.

What a caller says and shows is read by the edges, each in its own way; what counts of it is said here.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import Presented, Trust

Channels = Mapping[str, frozenset[str]]
"""The organizations of each channel."""

RECHECK_SECONDS = 10.0
"""The longest that a stream goes on without being checked again, though nothing seems to have changed."""

VISIT_SECONDS = 1.0
"""How long a call counts as let in; what it does later needs it to be let in again."""


class Caller(NamedTuple):
    """Who calls.

    Args:
        organization: its id.
        channel: whose assets are meant.
        certificate_ends: when the first certificate ends that proves it; None where nothing does.
    """

    organization: str
    channel: str
    certificate_ends: datetime | None


Identify: TypeAlias = Callable[[], Awaitable[Caller]]
"""Lets the caller in, or raises."""


class Visit:
    """A call whose caller was let in just now: it may take its time, and its caller is let in again after that.

    Args:
        caller: who was let in.
        identify: lets it in.
    """

    __slots__ = ("_identify", "_since", "caller")

    def __init__(self, caller: Caller, identify: Identify) -> None:
        self.caller = caller
        self._identify = identify
        self._since = time.monotonic()

    async def renew(self) -> None:
        """Let the caller in again, unless that was a moment ago.

        Raises:
            OrchestratorError: it may not come in any more.
            UnavailableError: it cannot be told.
        """
        now = time.monotonic()
        if now - self._since < VISIT_SECONDS:
            return
        organization, channel, _ = await self._identify()
        if (organization, channel) != self.caller[:2]:
            # Who leaves it open has the only channel that there is, which may be another by now.
            raise PermissionDeniedError(f"channel {self.caller.channel!r} is not open to the caller any more")
        self._since = now


class Gate:
    """Lets in who may come in.

    Args:
        channels: those that there are now.
        trust: who may vouch for whom now; None takes the caller's word for it.
    """

    def __init__(self, channels: Callable[[], Channels], trust: Callable[[], Trust] | None = None) -> None:
        self._channels = channels
        self._trust = trust

    def verify(self, organization: str, present: Callable[[], Presented]) -> datetime | None:
        """Return when the first certificate ends that proves who calls; None where nothing has to.

        Args:
            organization: who the caller says it is.
            present: what it showed; asked only where it counts.

        Raises:
            PermissionDeniedError: the certificates do not speak for it.
        """
        if self._trust is None:
            return None
        return self._trust().verify(present(), organization, datetime.now(UTC))

    def channels_of(self, organization: str) -> frozenset[str]:
        """Return the channels that are open to an organization."""
        return frozenset(name for name, members in self._channels().items() if organization in members)

    def enter(self, organization: str, channel: str, certificate_ends: datetime | None = None) -> Caller:
        """Let an organization into a channel.

        Raises:
            PermissionDeniedError: the channel is not open to it.
        """
        if organization not in self._channels().get(channel, frozenset()):
            raise PermissionDeniedError(f"channel {channel!r} is not open to organization {organization!r}")
        return Caller(organization, channel, certificate_ends)

    def guard(self, identify: Callable[[], Caller]) -> Callable[[], None]:
        """Return what checks, for a stream that was let in, that it may still go on; to be asked as often as one likes.

        Args:
            identify: lets the caller in again, or raises; asked when something has changed, and now and then.
        """
        asked: tuple[object, object, float] | None = None

        def check() -> None:
            nonlocal asked
            channels, trust, now = self._channels(), self._trust() if self._trust else None, time.monotonic()
            if asked and asked[0] is channels and asked[1] is trust and now - asked[2] < RECHECK_SECONDS:
                return
            identify()
            asked = channels, trust, now

        return check
