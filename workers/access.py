"""Who may read which file of an asset store: asked of the orchestrator, each time."""

import re
from collections.abc import Callable
from typing import TypeVar

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from workers.channels import Channels
from workers.store import shareable

Asset = TypeVar("Asset")

_LOG = re.compile(r"(?P<key>.+)-\d+")


class Access:
    """The rule of one organization's asset store.

    Args:
        channels: the connections of the organization that owns the store.
        organization: its id.
    """

    def __init__(self, channels: Channels, organization: str) -> None:
        self._channels = channels
        self._organization = organization

    def check(self, name: str, peers: frozenset[str]) -> None:
        """Check that one of the organizations that a certificate speaks for may read a file.

        Args:
            name: the file's, as in `models/<key>`.
            peers: the organizations.

        Raises:
            NotFoundError: no asset can have this name.
            PermissionDeniedError: none of them may.
            grpc.RpcError: the orchestrator does not know the asset, or gives no answer.
        """
        if not shareable(name):
            raise NotFoundError(f"{name!r} is no name of an asset")
        if self._organization in peers:
            return
        client, permission = self._permission(name)
        allowed = frozenset(permission.authorized_ids)
        if permission.public:
            # Public is what every organization of the asset's channel may read, not the whole network.
            known = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
            allowed |= frozenset(organization.id for organization in known.organizations)
        if not peers & allowed:
            raise PermissionDeniedError(
                f"{', '.join(sorted(peers))} may not read {name}; ask {self._organization} for the permission"
            )

    def _permission(self, name: str) -> tuple[Client, pb.Permission]:
        kind, key = name.split("/")[:2]
        if kind == "functions":
            client, function = self._find(lambda c: c.functions.GetFunction(pb.GetFunctionParam(key=key)))
            return client, function.permissions.process
        if kind == "data_managers":
            client, manager = self._find(lambda c: c.data_managers.GetDataManager(pb.GetDataManagerParam(key=key)))
            return client, manager.permissions.process
        if kind == "models":
            client, model = self._find(lambda c: c.models.GetModel(pb.GetModelParam(key=key)))
            return client, model.permissions.process
        return self._log_permission(name, key)

    def _log_permission(self, name: str, log: str) -> tuple[Client, pb.Permission]:
        match = _LOG.fullmatch(log)
        key = match["key"] if match else log
        client, report = self._find(
            lambda c: c.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=key))
        )
        address = report.logs_address.storage_address
        # Logs of attempts that were not reported, and of internal faults, are nobody else's business.
        if not address.endswith(f"/{name}"):
            raise PermissionDeniedError(f"{name} is not part of a failure report")
        if report.asset_type == pb.FAILED_ASSET_FUNCTION:
            return client, client.functions.GetFunction(pb.GetFunctionParam(key=key)).permissions.process
        return client, client.tasks.GetTask(pb.GetTaskParam(key=key)).logs_permission

    def _find(self, ask: Callable[[Client], Asset]) -> tuple[Client, Asset]:
        return self._channels.find(ask)
