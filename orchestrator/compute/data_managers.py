"""Data managers: data sets and the openers that read them."""

from orchestrator import protos as pb
from orchestrator.compute import organizations, validation
from orchestrator.compute.assets import data_managers
from orchestrator.compute.ownership import check_owner
from orchestrator.core import permissions
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page


def register(transaction: Transaction, new: pb.NewDataManager) -> pb.DataManager:
    """Register a data manager of the caller; its legacy type is not kept."""
    validation.check_data_manager(new)
    members = organizations.names(transaction)
    manager = pb.DataManager(
        key=new.key.lower(),
        name=new.name,
        owner=transaction.organization,
        permissions=permissions.grant_both(new.new_permissions, transaction.organization, members),
        description=new.description,
        opener=new.opener,
        creation_date=timestamp(transaction.now),
        logs_permission=permissions.grant(new.logs_permission, transaction.organization, members),
        metadata=new.metadata,
    )
    data_managers.insert(transaction, manager)
    transaction.events.created(manager.key, manager)
    return manager


def get(transaction: Transaction, wanted: pb.GetDataManagerParam) -> pb.DataManager:
    """Return a data manager."""
    return data_managers.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryDataManagersParam) -> pb.QueryDataManagersResponse:
    """List data managers."""
    managers, token = data_managers.list(transaction, Page(wanted.page_token, wanted.page_size))
    return pb.QueryDataManagersResponse(data_managers=managers, next_page_token=token)


def update(transaction: Transaction, change: pb.UpdateDataManagerParam) -> pb.UpdateDataManagerResponse:
    """Rename a data manager of the caller."""
    key = parse_key(change.key)
    validation.check_name(change.name)
    manager = data_managers.get(transaction, key, lock=True)
    check_owner(transaction, "data manager", manager)
    manager.name = change.name
    data_managers.save(transaction, manager)
    transaction.events.updated(manager.key, manager)
    return pb.UpdateDataManagerResponse()
