"""Data samples: only their checksums are known here; the data stay with their owner."""

from collections.abc import Iterable
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import validation
from orchestrator.compute.assets import data_managers, data_samples
from orchestrator.compute.ownership import check_owner
from orchestrator.core.errors import BadRequestError, InvalidAssetError, NotFoundError
from orchestrator.core.fields import parse_key, parse_keys
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables
from orchestrator.store.pages import Page
from orchestrator.store.statements import any_key


def register(transaction: Transaction, asked: pb.RegisterDataSamplesParam) -> pb.RegisterDataSamplesResponse:
    """Register data samples of the caller under data managers of its own; the legacy test_only is not kept."""
    if not asked.samples:
        raise BadRequestError("samples: none given")
    for new in asked.samples:
        validation.check_data_sample(new)
    managers = _managers(transaction, {key for new in asked.samples for key in new.data_manager_keys})
    for manager in managers.values():
        if manager.owner != transaction.organization:
            raise InvalidAssetError(f"data manager {manager.key} belongs to {manager.owner}, not to the caller")
    samples = [
        pb.DataSample(
            key=new.key.lower(),
            data_manager_keys=dict.fromkeys(key.lower() for key in new.data_manager_keys),
            owner=transaction.organization,
            checksum=new.checksum,
            creation_date=timestamp(transaction.now),
        )
        for new in asked.samples
    ]
    columns = ({"manager_keys": _manager_keys(sample)} for sample in samples)
    data_samples.insert_many(transaction, samples, columns)
    for sample in samples:
        transaction.events.created(sample.key, sample)
    return pb.RegisterDataSamplesResponse(data_samples=samples)


def update(transaction: Transaction, change: pb.UpdateDataSamplesParam) -> pb.UpdateDataSamplesResponse:
    """Add data managers of the caller to samples of the caller."""
    keys = parse_keys(change.keys, "keys")
    parse_keys(change.data_manager_keys, "data_manager_keys")
    if not keys or not change.data_manager_keys:
        raise BadRequestError("keys and data_manager_keys: at least one of each is needed")
    managers = _managers(transaction, change.data_manager_keys)
    samples = data_samples.get_many(transaction, keys, lock=True)
    for key in keys:
        if str(key) not in samples:
            raise NotFoundError(f"data sample {key} does not exist")
    for manager in managers.values():
        check_owner(transaction, "data manager", manager)
    for sample in samples.values():
        check_owner(transaction, "data sample", sample)
    for key in dict.fromkeys(keys):
        sample = samples[str(key)]
        merged = dict.fromkeys((*sample.data_manager_keys, *(name.lower() for name in change.data_manager_keys)))
        sample.ClearField("data_manager_keys")
        sample.data_manager_keys.extend(merged)
        data_samples.save(transaction, sample, manager_keys=_manager_keys(sample))
        transaction.events.updated(sample.key, sample)
    return pb.UpdateDataSamplesResponse()


def get(transaction: Transaction, wanted: pb.GetDataSampleParam) -> pb.DataSample:
    """Return a data sample."""
    return data_samples.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryDataSamplesParam) -> pb.QueryDataSamplesResponse:
    """List data samples, those of the given keys where asked."""
    conditions = []
    if wanted.filter.keys:
        conditions.append(tables.data_samples.c.key == any_key(parse_keys(wanted.filter.keys, "filter.keys")))
    samples, token = data_samples.list(transaction, Page(wanted.page_token, wanted.page_size), *conditions)
    return pb.QueryDataSamplesResponse(data_samples=samples, next_page_token=token)


def _managers(transaction: Transaction, keys: Iterable[str]) -> dict[str, pb.DataManager]:
    wanted = {UUID(key) for key in keys}
    managers = data_managers.get_many(transaction, wanted)
    for key in wanted:
        if str(key) not in managers:
            raise NotFoundError(f"data manager {key} does not exist")
    return managers


def _manager_keys(sample: pb.DataSample) -> list[UUID]:
    return [UUID(key) for key in sample.data_manager_keys]
