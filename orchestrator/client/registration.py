"""How an asset is registered, so that a lost answer does nothing twice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client.steps import Steps, settle
from orchestrator.core.permissions import grant

New: TypeAlias = pb.NewFunction | pb.NewDataManager | pb.NewDataSample | pb.RegisterOrganizationParam


@dataclass(frozen=True)
class _Kind:
    """One kind of asset.

    Args:
        send: registers it.
        look: asks for what is there under its key.
        find: from an answer to either, and the caller, to the asset; None if it is not there.
    """

    send: Callable[[Any, Any], Any]
    look: Callable[[Any, Any], Any]
    find: Callable[[Any, str], Message | None] = lambda answer, _: answer


def _sample(answer: pb.DataSample | pb.RegisterDataSamplesResponse, _: str) -> pb.DataSample:
    return answer if isinstance(answer, pb.DataSample) else answer.data_samples[0]


def _organization(answer: pb.Organization | pb.GetAllOrganizationsResponse, caller: str) -> pb.Organization | None:
    if isinstance(answer, pb.Organization):
        return answer
    return next((found for found in answer.organizations if found.id == caller), None)


_KINDS: Mapping[type[Message], _Kind] = {
    pb.NewFunction: _Kind(
        lambda client, new: client.functions.RegisterFunction(new),
        lambda client, new: client.functions.GetFunction(pb.GetFunctionParam(key=new.key)),
    ),
    pb.NewDataManager: _Kind(
        lambda client, new: client.data_managers.RegisterDataManager(new),
        lambda client, new: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=new.key)),
    ),
    pb.NewDataSample: _Kind(
        lambda client, new: client.data_samples.RegisterDataSamples(pb.RegisterDataSamplesParam(samples=[new])),
        lambda client, new: client.data_samples.GetDataSample(pb.GetDataSampleParam(key=new.key)),
        _sample,
    ),
    pb.RegisterOrganizationParam: _Kind(
        lambda client, new: client.organizations.RegisterOrganization(new),
        lambda client, _: client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()),
        _organization,
    ),
}


def register(new: New, caller: str, sent_before: bool = False) -> Steps[Any]:
    """Register an asset, and return it as the orchestrator has it.

    Args:
        new: the asset.
        caller: whose it will be.
        sent_before: whether it may be there already, from another time.

    Raises:
        CallError: the orchestrator refused, or does not answer.
    """
    kind = _KINDS[type(new)]

    def is_ours(answer: Any) -> bool:
        found = kind.find(answer, caller)
        return found is not None and getattr(found, "owner", caller) == caller and _same(new, found)

    answer = yield from settle(
        lambda client: kind.send(client, new), lambda client: kind.look(client, new), is_ours, sent_before
    )
    return kind.find(answer, caller)


# Accepted by the contract, and not kept; permissions are compared apart, since the owner is added to them.
_NOT_KEPT = {"type", "test_only", "logs_permission"}


def _same(new: Message, found: Message) -> bool:
    """Say whether an asset is what was sent."""
    kept = {field.name for field in found.DESCRIPTOR.fields} - _NOT_KEPT
    shared = [field.name for field in new.DESCRIPTOR.fields if field.name in kept]
    return all(_kept(new, name) == _kept(found, name) for name in shared) and _same_permissions(new, found)


def _kept(message: Message, name: str) -> Any:
    value = getattr(message, name)
    if name == "data_manager_keys":
        return {key.lower() for key in value}
    return value.lower() if name == "key" else value


def _same_permissions(new: Message, found: Message) -> bool:
    if not isinstance(new, pb.NewFunction | pb.NewDataManager) or not isinstance(found, pb.Function | pb.DataManager):
        return True
    pairs = [(new.new_permissions, found.permissions.process)]
    if isinstance(new, pb.NewDataManager) and isinstance(found, pb.DataManager):
        pairs.append((new.logs_permission, found.logs_permission))
    return all(grant(asked, found.owner, asked.authorized_ids) == given for asked, given in pairs)
