"""Who calls, and in which channel: read from a call's metadata and checked against its client certificate."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import grpc

from orchestrator.core import identity
from orchestrator.core.errors import BadRequestError, PermissionDeniedError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Gate:
    """Lets in who may come in.

    Args:
        channels: the organizations of each channel.
        authorities: whose certificates speak for whom; None takes the caller's word for it.
    """

    def __init__(
        self, channels: Mapping[str, frozenset[str]], authorities: Callable[[], identity.Authorities] | None = None
    ) -> None:
        self._channels = channels
        self._authorities = authorities

    def identify(self, context: Context) -> tuple[str, str]:
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
        if self._authorities is not None:
            identity.verify(_claims(context), organization, self._authorities())
        if len(channels) != 1:
            raise PermissionDeniedError(f"metadata: exactly one channel is needed, {len(channels)} given")
        if organization not in self._channels.get(channels[0], frozenset()):
            raise PermissionDeniedError(f"channel {channels[0]!r} is not open to organization {organization!r}")
        return organization, channels[0]


def _claims(context: Context) -> identity.Claims:
    certificates = list(context.auth_context().get("x509_pem_cert", ()))
    if not certificates:
        raise PermissionDeniedError("the call came without a client certificate")
    return identity.read_claims(certificates[0])
