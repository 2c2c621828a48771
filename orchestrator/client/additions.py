"""How functions, data sets and data samples are added: their files to the own asset store, then they are registered."""

import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.client import declaration, folders, registration, sources
from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.sources import Source
from orchestrator.client.steps import Steps, Work, settle
from orchestrator.client.stores import Stores
from orchestrator.client.task import Permissions, permissions

Place: TypeAlias = Path | str
Metadata: TypeAlias = Mapping[str, str] | None

_BATCH = 100
_SLICE = 500


def register_organization(organization: str, channel: str, store_url: str) -> Steps[pb.Organization]:
    """Register an organization, unless it is already, with this address; see `Client.register_organization`."""
    try:
        registered: pb.Organization = yield from registration.register(
            pb.RegisterOrganizationParam(address=store_url), organization
        )
        return registered
    except CallError as error:
        if error.oe_code != "OE0006":
            raise
        found = yield from _organization(organization)
        if found is None or found.address.removesuffix("/") != store_url.removesuffix("/"):
            has = f"the address {found.address!r}" if found and found.address else "no address"
            raise StoreError(
                f"{organization} is registered in {channel} already, with {has}, which cannot be changed; the others "
                f"can name {store_url or 'another'} under `stores` in their consent policies"
            ) from error
        return found


def add_function(
    stores: Stores,
    organization: str,
    folder: Place,
    permitted: Permissions,
    name: str,
    metadata: Metadata,
    key: str | None,
) -> Steps[pb.Function]:
    """Add a function; see `Client.add_function`."""
    place = Path(folder)
    declared = yield Work(partial(declaration.read, place))
    again, key = key is not None, _new_key(key)
    with tempfile.NamedTemporaryFile(suffix=".zip") as packed:
        archive = yield Work(partial(_pack, place, Path(packed.name)))
        adding = _Adding(stores, (yield from _own_store(organization)))
        new = pb.NewFunction(
            key=key,
            name=name or declared.name,
            description=(yield from adding.put(f"functions/{key}/description", sources.of_text(declared.description))),
            archive=(yield from adding.put(f"functions/{key}/archive", archive)),
            new_permissions=permissions(permitted),
            inputs=declared.inputs,
            outputs=declared.outputs,
            metadata={**declared.metadata, **(metadata or {})},
        )
    function: pb.Function = yield from registration.register(new, organization, again)
    return function


def add_dataset(
    stores: Stores,
    organization: str,
    opener: Place,
    name: str,
    permitted: Permissions,
    logs: Permissions,
    description: str,
    metadata: Metadata,
    key: str | None,
) -> Steps[pb.DataManager]:
    """Add a data set; see `Client.add_dataset`."""
    again, key = key is not None, _new_key(key)
    source = yield Work(partial(sources.of_file, _opener(Path(opener))))
    adding = _Adding(stores, (yield from _own_store(organization)))
    text = sources.of_text(description or f"# {name}\n")
    new = pb.NewDataManager(
        key=key,
        name=name,
        new_permissions=permissions(permitted),
        description=(yield from adding.put(f"data_managers/{key}/description", text)),
        opener=(yield from adding.put(f"data_managers/{key}/opener", source)),
        logs_permission=permissions(logs),
        metadata=metadata or {},
    )
    manager: pb.DataManager = yield from registration.register(new, organization, again)
    return manager


def add_samples(
    stores: Stores, organization: str, dataset: str | pb.DataManager, places: Iterable[Place]
) -> Steps[list[pb.DataSample]]:
    """Add data samples to a data set; see `Client.add_samples`."""
    manager = dataset if isinstance(dataset, str) else dataset.key
    contents: list[Source] = []
    for place in places:
        contents.append((yield Work(partial(sources.of_folder, Path(place)))))
    adding = _Adding(stores, (yield from _own_store(organization)))
    known = yield from _samples_of(manager, organization)
    missing = {content.checksum: content for content in contents if content.checksum not in known}
    waiting: list[pb.NewDataSample] = []
    for number, (checksum, content) in enumerate(missing.items(), start=1):
        key = _new_key()
        yield from adding.put(f"data_samples/{key}", content)
        waiting.append(pb.NewDataSample(key=key, data_manager_keys=[manager], checksum=checksum))
        # Now and then: who is cut off has what came before.
        if len(waiting) == _BATCH or number == len(missing):
            for sample in (yield from _register_samples(waiting)):
                known[sample.checksum] = sample
            waiting = []
    return [known[content.checksum] for content in contents]


class _Adding:
    """Puts files into an organization's own store.

    Args:
        stores: connects to it.
        base: its https URL.
    """

    def __init__(self, stores: Stores, base: str) -> None:
        self._stores = stores
        self._base = base

    def put(self, name: str, source: Source) -> Steps[pb.Addressable]:
        """Put a content there; return what is registered of it."""
        address = yield Work(partial(self._stores.put, self._base, name, source))
        return pb.Addressable(checksum=source.checksum, storage_address=address)


def _new_key(given: str | None = None) -> str:
    return given.lower() if given else str(uuid.uuid4())


def _pack(folder: Path, archive: Path) -> Source:
    if not (folder / "Dockerfile").is_file():
        raise folders.FolderError(
            f"{folder} has no Dockerfile: it says how the function runs, as in "
            '`ENTRYPOINT ["python3", "function.py", "--function-name", "train"]`'
        )
    with archive.open("wb") as file:
        folders.pack(folder, file)
    return sources.of_file(archive)


def _opener(place: Path) -> Path:
    return place / "__init__.py" if place.is_dir() else place


def _organization(organization: str) -> Steps[pb.Organization | None]:
    answer = yield lambda client: client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    return next((found for found in answer.organizations if found.id == organization), None)


def _own_store(organization: str) -> Steps[str]:
    found = yield from _organization(organization)
    if found is None or not found.address:
        raise StoreError(
            f"{organization} has no asset store that the others know: register it first, with "
            "`client.register_organization(URL)` or `orchestrator org register --address URL`"
        )
    return found.address


def _samples_of(manager: str, organization: str) -> Steps[dict[str, pb.DataSample]]:
    """Return the data samples of a data set by their checksums."""
    dataset = yield lambda client: client.datasets.GetDataset(pb.GetDatasetParam(key=manager))
    found: dict[str, pb.DataSample] = {}
    keys = list(dataset.data_sample_keys)
    for begin in range(0, len(keys), _SLICE):
        for sample in (yield from _samples(keys[begin : begin + _SLICE])):
            if sample.owner == organization:
                found[sample.checksum] = sample
    return found


def _samples(keys: Sequence[str]) -> Steps[list[pb.DataSample]]:
    answer = yield partial(_query, keys=keys)
    return list(answer.data_samples)


def _query(client: object, keys: Sequence[str]) -> object:
    wanted = pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys), page_size=len(keys))
    return client.data_samples.QueryDataSamples(wanted)  # type: ignore[attr-defined]


def _register_samples(new: Sequence[pb.NewDataSample]) -> Steps[list[pb.DataSample]]:
    keys = [sample.key for sample in new]
    answer = yield from settle(
        lambda client: client.data_samples.RegisterDataSamples(pb.RegisterDataSamplesParam(samples=new)),
        partial(_query, keys=keys),
        # All of them or none.
        lambda found: len(found.data_samples) == len(keys),
    )
    return list(answer.data_samples)
