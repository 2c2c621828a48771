"""Where the asset stores of a channel's organizations are, as they registered it."""

import math
import time
from collections.abc import Mapping

from orchestrator import protos as pb
from orchestrator.client import Client

_KEPT_SECONDS = 60.0


class Peers:
    """The registered addresses of the organizations of one channel, kept for a minute.

    Args:
        client: the connection to the orchestrator, in that channel.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._addresses: Mapping[str, str] = {}
        self._asked = -math.inf

    def address(self, organization: str) -> str:
        """Return the address of an organization; empty where it has registered none, or not itself.

        Raises:
            grpc.RpcError: the orchestrator gives no answer.
        """
        # One that is missing may have come since.
        if not self._addresses.get(organization) or time.monotonic() > self._asked + _KEPT_SECONDS:
            answer = self._client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
            self._addresses = {known.id: known.address for known in answer.organizations}
            self._asked = time.monotonic()
        return self._addresses.get(organization, "")
