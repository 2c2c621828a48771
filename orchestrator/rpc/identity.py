"""Who calls, and in which channel: read from a call's metadata and checked against its client certificates."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import grpc

from orchestrator.core.errors import BadRequestError, PermissionDeniedError
from orchestrator.core.identity import Presented, Trust

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Channels = Mapping[str, frozenset[str]]
"""The organizations of each channel."""

RECHECK_SECONDS = 10.0
"""The longest that a stream goes on without being checked again, though nothing seems to have changed."""


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


class Gate:
    """Lets in who may come in.

    Args:
        channels: those that there are now.
        trust: who may vouch for whom now; None takes the caller's word for it.
    """

    def __init__(self, channels: Callable[[], Channels], trust: Callable[[], Trust] | None = None) -> None:
        self._channels = channels
        self._trust = trust

    def identify(self, context: Context) -> Caller:
        """Return the calling organization and the channel.

        Raises:
            BadRequestError: the organization is missing, or given more than once.
            PermissionDeniedError: the certificate does not speak for it, or the channel is not open to it.
        """
        organizations, channels = [], []
        for key, value in context.invocation_metadata() or ():
            if key == "mspid":
                organizations.append(str(value))
            elif key == "channel":
                channels.append(str(value))
        if len(organizations) != 1 or not organizations[0]:
            raise BadRequestError(
                f"metadata: exactly one mspid (the calling organization) is needed, {len(organizations)} given"
            )
        organization = organizations[0]
        ends = None
        if self._trust is not None:
            ends = self._trust().verify(_presented(context), organization, datetime.now(UTC))
        if len(channels) != 1:
            raise PermissionDeniedError(f"metadata: exactly one channel is needed, {len(channels)} given")
        if organization not in self._channels().get(channels[0], frozenset()):
            raise PermissionDeniedError(f"channel {channels[0]!r} is not open to organization {organization!r}")
        return Caller(organization, channels[0], ends)

    def guard(self, context: Context) -> Callable[[], None]:
        """Return what checks, for a stream that was let in, that it may still go on; to be asked as often as one likes.

        It raises PermissionDeniedError as soon as `identify` would.
        """
        asked: tuple[object, object, float] | None = None

        def check() -> None:
            nonlocal asked
            channels, trust, now = self._channels(), self._trust() if self._trust else None, time.monotonic()
            if asked and asked[0] is channels and asked[1] is trust and now - asked[2] < RECHECK_SECONDS:
                return
            self.identify(context)
            asked = channels, trust, now

        return check


def _presented(context: Context) -> Presented:
    shown = context.auth_context()
    leaf, chain = list(shown.get("x509_pem_cert", ())), list(shown.get("x509_pem_cert_chain", ()))
    if not leaf:
        raise PermissionDeniedError("the call came without a client certificate")
    return (*leaf, *chain)
