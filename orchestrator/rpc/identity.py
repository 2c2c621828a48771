"""Who calls, and in which channel: read from a call's metadata, and from the certificates of its connection."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import grpc

from orchestrator.calls.gate import Caller, Gate
from orchestrator.core.errors import BadRequestError, PermissionDeniedError
from orchestrator.core.identity import Presented

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


def identify(gate: Gate, metadata: Metadata, context: Context) -> Caller:
    """Return who calls, once the gate has let it in.

    Args:
        gate: lets callers in.
        metadata: of the call; gRPC makes it anew each time that it is asked.
        context: of the call.

    Raises:
        BadRequestError: the organization is missing, or given more than once.
        PermissionDeniedError: the certificate does not speak for it, or the channel is not open to it.
    """
    organizations, channels = [], []
    for key, value in metadata:
        if key == "mspid":
            organizations.append(str(value))
        elif key == "channel":
            channels.append(str(value))
    if len(organizations) != 1 or not organizations[0]:
        raise BadRequestError(
            f"metadata: exactly one mspid (the calling organization) is needed, {len(organizations)} given"
        )
    ends = gate.verify(organizations[0], lambda: _presented(context))
    if len(channels) != 1:
        raise PermissionDeniedError(f"metadata: exactly one channel is needed, {len(channels)} given")
    return gate.enter(organizations[0], channels[0], ends)


def _presented(context: Context) -> Presented:
    shown = context.auth_context()
    leaf, chain = list(shown.get("x509_pem_cert", ())), list(shown.get("x509_pem_cert_chain", ()))
    if not leaf:
        raise PermissionDeniedError("the call came without a client certificate")
    return (*leaf, *chain)
