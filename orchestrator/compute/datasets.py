"""Datasets: a data manager with the keys of its samples."""

from sqlalchemy import select

from orchestrator import protos as pb
from orchestrator.compute.assets import data_managers
from orchestrator.core.fields import parse_key
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables


def get(transaction: Transaction, wanted: pb.GetDatasetParam) -> pb.Dataset:
    """Return a data manager and the keys of its samples, by date of creation, then key."""
    key = parse_key(wanted.key)
    manager = data_managers.get(transaction, key)
    table = tables.data_samples.c
    query = (
        select(table.key)
        .where(table.channel == transaction.channel, table.manager_keys.contains([key]))
        .order_by(table.created_at, table.key)
    )
    keys = transaction.connection.execute(query).scalars()
    return pb.Dataset(data_manager=manager, data_sample_keys=map(str, keys))
