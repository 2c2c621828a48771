"""How functions, data sets and data samples are added: their files to the own asset store, then they are registered."""

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from orchestrator import protos as pb
from orchestrator.client import declaration, folders, keys, registration, sources
from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.messages import Several
from orchestrator.client.sources import Source
from orchestrator.client.steps import Steps, Work, settle
from orchestrator.client.stores import Stores
from orchestrator.client.task import Permissions, permissions, texts

Place: TypeAlias = Path | str
Metadata: TypeAlias = Mapping[str, str] | None
Row = TypeVar("Row")

_BATCH = 100
_SLICE = 500
_TAKEN = "OE0006"


def register_organization(organization: str, channel: str, store_url: str) -> Steps[pb.Organization]:
    """Register an organization, unless it is already, with this address; see `Client.register_organization`."""
    try:
        registered: pb.Organization = yield from registration.register(
            pb.RegisterOrganizationParam(address=store_url), organization
        )
        return registered
    except CallError as error:
        if error.oe_code != _TAKEN:
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
    again, key = key is not None, _new_key(key, "a function")
    place = Path(folder)
    declared = yield Work(partial(declaration.read, place))
    new = pb.NewFunction(
        key=key,
        name=name or declared.name,
        new_permissions=permissions(permitted),
        inputs=declared.inputs,
        outputs=declared.outputs,
        metadata={**declared.metadata, **texts(metadata)},
    )
    with tempfile.NamedTemporaryFile(suffix=".zip") as packed:
        archive = yield Work(partial(_pack, place, Path(packed.name)))
        description = sources.of_text(declared.description)
        function = yield from add_archive(stores, organization, new, archive, description, again)
    return function


def add_archive(
    stores: Stores,
    organization: str,
    new: pb.NewFunction,
    archive: Source,
    description: Source,
    sent_before: bool = False,
) -> Steps[pb.Function]:
    """Add a function that is packed already.

    Args:
        stores: how the own one is reached.
        organization: whose function it is.
        new: the function; the addresses of both files are written into it.
        archive: tar.gz or zip, with a Dockerfile at its top.
        description: for people, Markdown.
        sent_before: whether it may be there already, from another time.
    """
    contents = {f"functions/{new.key}/description": description, f"functions/{new.key}/archive": archive}
    described, archived = yield from _put_all(stores, organization, contents)
    new.description.CopyFrom(described)
    new.archive.CopyFrom(archived)
    function: pb.Function = yield from registration.register(new, organization, sent_before)
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
    again, key = key is not None, _new_key(key, "a data set")
    source = yield Work(partial(_opener, Path(opener)))
    contents = {
        f"data_managers/{key}/description": sources.of_text(description or f"# {name}\n"),
        f"data_managers/{key}/opener": source,
    }
    described, opened = yield from _put_all(stores, organization, contents)
    new = pb.NewDataManager(
        key=key,
        name=name,
        new_permissions=permissions(permitted),
        description=described,
        opener=opened,
        logs_permission=permissions(logs),
        metadata=texts(metadata),
    )
    manager: pb.DataManager = yield from registration.register(new, organization, again)
    return manager


def add_samples(
    stores: Stores, organization: str, dataset: str | pb.DataManager, places: Place | Iterable[Place]
) -> Steps[list[pb.DataSample]]:
    """Add data samples to a data set; see `Client.add_samples`."""
    manager = yield from keys.find(dataset, pb.ASSET_DATA_MANAGER, pb.DataManager)
    contents: list[Source] = []
    # A text is a sequence of texts too, and `/` would be the first of many.
    for place in [places] if isinstance(places, str | Path) else places:
        contents.append((yield Work(partial(sources.of_folder, Path(place)))))
    base = yield from _own_store(organization)
    known = yield from _samples_of(manager, organization)
    missing = {content.checksum: content for content in contents if content.checksum not in known}
    with closing((yield Work(stores.connect))) as connection:
        # A few at a time: who is cut off has what came before.
        for batch in _batches(list(missing.values()), _BATCH):
            known |= yield from _add_batch(partial(connection.put, base), organization, manager, batch)
    return Several(known[content.checksum] for content in contents)


def _add_batch(
    put: Callable[[str, Source], str], organization: str, manager: str, batch: Sequence[Source]
) -> Steps[dict[str, pb.DataSample]]:
    """Add data samples that were not there yet; return them, and all others that there are now, by their checksums.

    Whoever adds the same content at the same time gives it the same key, and is told that it is there.
    """
    found: dict[str, pb.DataSample] = {}
    key_of: Callable[[Source], str] = partial(_key_of_content, manager)
    while batch:
        new = []
        for content in batch:
            key = key_of(content)
            yield Work(partial(put, f"data_samples/{key}", content))
            new.append(pb.NewDataSample(key=key, data_manager_keys=[manager], checksum=content.checksum))
        try:
            return found | {sample.checksum: sample for sample in (yield from _register_samples(new, organization))}
        except CallError as error:
            if error.oe_code != _TAKEN or key_of is _any_key:
                raise
        found = yield from _samples_of(manager, organization)
        left = [content for content in batch if content.checksum not in found]
        if len(left) == len(batch):
            # The key is a stranger's: others know how it is made.
            key_of = _any_key
        batch = left
    return found


def _key_of_content(manager: str, content: Source) -> str:
    return str(uuid.uuid5(uuid.UUID(manager), content.checksum))


def _any_key(_: Source) -> str:
    return str(uuid.uuid4())


def _put_all(stores: Stores, organization: str, contents: Mapping[str, Source]) -> Steps[list[pb.Addressable]]:
    """Put contents into the own store by their names; return what is registered of each."""
    base = yield from _own_store(organization)
    addresses = []
    with closing((yield Work(stores.connect))) as connection:
        for name, source in contents.items():
            address = yield Work(partial(connection.put, base, name, source))
            addresses.append(pb.Addressable(checksum=source.checksum, storage_address=address))
    return addresses


def _batches(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    return (rows[begin : begin + size] for begin in range(0, len(rows), size))


def _new_key(given: str | None, what: str) -> str:
    return str(uuid.uuid4()) if given is None else keys.checked(given, what)


def _pack(folder: Path, archive: Path) -> Source:
    if not (folder / "Dockerfile").is_file():
        raise folders.FolderError(
            f"{folder} has no Dockerfile: it says how the function runs, as in "
            '`ENTRYPOINT ["python3", "function.py", "--function-name", "train"]`'
        )
    with archive.open("wb") as file:
        folders.pack(folder, file)
    return sources.of_file(archive)


def _opener(place: Path) -> Source:
    file = place / "__init__.py" if place.is_dir() else place
    if not file.is_file():
        raise folders.FolderError(f"{file} is missing: an opener is a Python file, or a folder with it as __init__.py")
    return sources.of_file(file)


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
    for some in _batches(dataset.data_sample_keys, _SLICE):
        answer = yield partial(_query, keys=some)
        found |= {sample.checksum: sample for sample in answer.data_samples if sample.owner == organization}
    return found


def _query(client: object, keys: Sequence[str]) -> object:
    wanted = pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys), page_size=len(keys))
    return client.data_samples.QueryDataSamples(wanted)  # type: ignore[attr-defined]


def _register_samples(new: Sequence[pb.NewDataSample], organization: str) -> Steps[list[pb.DataSample]]:
    wanted = [sample.key for sample in new]
    answer = yield from settle(
        lambda client: client.data_samples.RegisterDataSamples(pb.RegisterDataSamplesParam(samples=new)),
        partial(_query, keys=wanted),
        # All of them or none.
        lambda found: [sample.owner for sample in found.data_samples] == [organization] * len(wanted),
    )
    return list(answer.data_samples)
