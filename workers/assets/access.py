"""Who may read which file of an asset store: asked of the orchestrator, each time."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import grpc

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from workers.assets import addresses
from workers.assets.addresses import Asset, check_store_url
from workers.assets.store import shareable, url
from workers.channels import Channels

Found: TypeAlias = pb.Function | pb.DataManager | pb.Model | pb.FailureReport

_LOG = re.compile(r"(?P<key>.+)-\d+")
_ASK: Mapping[str, Callable[[Client, str], Found]] = {
    "functions": lambda client, key: client.functions.GetFunction(pb.GetFunctionParam(key=key)),
    "data_managers": lambda client, key: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=key)),
    "models": lambda client, key: client.models.GetModel(pb.GetModelParam(key=key)),
    "logs": lambda client, key: client.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=key)),
}


class Access:
    """The rule of one organization's asset store.

    A file is served if the orchestrator says that it is an asset of this organization, that its registered address
    is this very file, and that it was not deleted; and then to those who may process the asset.

    Args:
        channels: the connections of the organization that owns the store.
        organization: its id.
        store_url: the public URL of the store; None for the address that the organization has registered.
    """

    def __init__(self, channels: Channels, organization: str, store_url: str | None = None) -> None:
        self._channels = channels
        self._organization = organization
        self._store_url = store_url

    def address(self, name: str) -> str:
        """Return the public URL of a file; empty where the store does not know its own, as it is not registered."""
        registered = (peers.address(self._organization) for peers in self._channels.peers.values())
        try:
            stated = self._store_url or next(filter(None, registered), "")
        except grpc.RpcError:
            return ""
        return url(stated, name) if stated else ""

    def check(self, name: str, peers: frozenset[str]) -> None:
        """Check that one of the organizations that a certificate speaks for may read a file.

        Args:
            name: the file's, as in `models/<key>`.
            peers: the organizations.

        Raises:
            NotFoundError: it is no asset of this organization, or was deleted.
            PermissionDeniedError: none of them may, or the asset is registered at another address.
            grpc.RpcError: the orchestrator does not know the asset, or gives no answer.
        """
        if not shareable(name):
            raise NotFoundError(f"{name!r} is no name of an asset")
        own = self._organization in peers
        kind, key = name.split("/")[:2]
        if kind == "logs":
            if own:
                # Those of attempts that were not reported too: what lies there, its own worker wrote.
                return
            match = _LOG.fullmatch(key)
            key = match["key"] if match else key
        if kind == "task_logs":
            client, permission = self._of_task(key, name)
        else:
            client, found = self._channels.find(lambda client: _ASK[kind](client, key))
            self._check_here(client, _asset(found, name))
            permission = _permission(client, found)
        if own:
            return
        allowed = frozenset(permission.authorized_ids)
        if peers & allowed:
            return
        known = client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
        members = frozenset(organization.id for organization in known.organizations)
        if not peers & members:
            # Whether a key exists in a channel is for that channel to know.
            raise NotFoundError(f"the orchestrator does not know {name}")
        # Public is what every organization of the asset's channel may read, not the whole network.
        if not permission.public:
            who = ", ".join(sorted(allowed | {self._organization}))
            raise PermissionDeniedError(f"{', '.join(sorted(peers))} may not read {name}: only {who} may")

    def _of_task(self, key: str, name: str) -> tuple[Client, pb.Permission]:
        """Return who may read what the attempts at a task say."""
        try:
            client, task = self._channels.find(lambda client: client.tasks.GetTask(pb.GetTaskParam(key=key)))
            worker, permission = task.worker, task.logs_permission
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            # What a step of an execution says is for whose execution it is.
            wanted = pb.GetStepParam(key=key)
            client, shown = self._channels.find(lambda client: client.execution_steps.GetStep(wanted))
            worker, permission = shown.worker, pb.Permission(authorized_ids=[shown.step.owner])
        if worker != self._organization:
            raise NotFoundError(f"{name} is no log of {self._organization}: {worker} runs that task")
        return client, permission

    def _check_here(self, client: Client, asset: Asset) -> None:
        if asset.owner != self._organization:
            raise NotFoundError(f"{asset.name} is no asset of {self._organization}")
        if not asset.address.storage_address:
            raise NotFoundError(f"{asset.name} was deleted, or was never part of a failure report")
        stated = self._store_url or self._channels.peers[client].address(self._organization)
        try:
            here = asset.lies_in(check_store_url(stated))
        except ValueError as error:
            raise PermissionDeniedError(
                f"the asset store of {self._organization} does not know its own public URL and serves nothing: it "
                f"needs ORCHESTRATOR_STORE_URL; the registered address is {stated!r}"
            ) from error
        if not here:
            raise PermissionDeniedError(f"{asset.what} is registered at another address than {asset.name} in {stated}")


def _asset(found: Found, name: str) -> Asset:
    """Return what the orchestrator says of the asset that a name is for."""
    if isinstance(found, pb.Model):
        return addresses.model(found)
    if isinstance(found, pb.FailureReport):
        return addresses.log(found, name)
    if name.endswith("/description"):
        return addresses.description(found)
    return addresses.archive(found) if isinstance(found, pb.Function) else addresses.opener(found)


def _permission(client: Client, found: Found) -> pb.Permission:
    if not isinstance(found, pb.FailureReport):
        return found.permissions.process
    key = found.asset_key
    if found.asset_type == pb.FAILED_ASSET_FUNCTION:
        return client.functions.GetFunction(pb.GetFunctionParam(key=key)).permissions.process
    return client.tasks.GetTask(pb.GetTaskParam(key=key)).logs_permission
