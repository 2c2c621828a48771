"""Brings the inputs of a task into its working folder."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.addresses import Asset
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore
from workers.errors import AddressFault, InternalFault
from workers.executors.executor import Resource

# Far above what an opener, a script, can be.
_OPENER_SIZE_LIMIT = 64 * 1024**2
# From all peers together: more would only take each other's share of the network.
_AT_ONCE = 4


def prepare(
    assets: Iterable[pb.ComputeTaskInputAsset],
    declared: Mapping[str, pb.FunctionInput],
    folder: Path,
    fetcher: Fetcher,
    store: AssetStore,
    organization: str,
    model_size_limit: int,
) -> list[Resource]:
    """Fetch openers and models, and find the data samples.

    Args:
        assets: the task's inputs, in their order.
        declared: the function's inputs, by identifier.
        folder: an existing, empty folder for them.
        fetcher: where openers and models come from.
        store: the own store, where the data samples lie.
        organization: whose store that is; data samples of others are none of its business.
        model_size_limit: bytes.

    Raises:
        InternalFault: one cannot be had, or is not what was registered.
        grpc.RpcError: the orchestrator does not say where the store of a peer is.
    """
    resources = []
    wanted: list[tuple[Asset, Path, int]] = []
    for number, asset in enumerate(assets):
        place = folder / str(number)
        kind = asset.WhichOneof("asset")
        if kind == "model":
            model = asset.model
            if not model.address.storage_address:
                raise InternalFault(f"the model {model.key} (input {asset.identifier!r}) has been deleted")
            wanted.append((addresses.model(model), place, model_size_limit))
        elif kind == "data_manager":
            manager = asset.data_manager
            if manager.owner != organization:
                # Its opener is code that reads our data, whoever says that the data are its.
                raise AddressFault(
                    f"the data manager {manager.key} belongs to {manager.owner}, and only that organization may use it"
                )
            place.mkdir()
            place = place / "__init__.py"
            wanted.append((addresses.opener(manager), place, _OPENER_SIZE_LIMIT))
        elif kind == "data_sample":
            key, owner = asset.data_sample.key, asset.data_sample.owner
            if owner != organization:
                raise AddressFault(f"the data sample {key} belongs to {owner}, and only that organization may use it")
            try:
                place = store.folder(f"data_samples/{key}", place)
            except FileNotFoundError as error:
                raise InternalFault(f"the data sample {key} is missing from the own asset store") from error
        else:
            raise InternalFault(f"the input {asset.identifier!r} is of a kind that this worker does not know")
        resources.append(Resource(asset.identifier, place, declared[asset.identifier].multiple))
    _fetch(fetcher, wanted)
    return resources


def _fetch(fetcher: Fetcher, wanted: Sequence[tuple[Asset, Path, int]]) -> None:
    if len(wanted) < 2:
        for each in wanted:
            fetcher.fetch(*each)
        return
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")
    try:
        # Each in a context of its own, a part of what asks for it.
        for fetched in [pool.submit(copy_context().run, partial(fetcher.fetch, *each)) for each in wanted]:
            fetched.result()
    finally:
        pool.shutdown(cancel_futures=True)
