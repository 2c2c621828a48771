"""What a federation needs before it can train: its organizations, their functions and their data, registered."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.breast_cancer import FUNCTIONS, OPENER, archives
from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from orchestrator.embedded.running import Running
from workers.assets.store import AssetStore, url

if TYPE_CHECKING:
    from examples.breast_cancer.data import Hospital

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05

_OPENER = pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER)
_SAMPLES = pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True)
_MODEL = pb.FunctionOutput(kind=pb.ASSET_MODEL)
_SCORE = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)


class BuildError(RuntimeError):
    """A function was not built; the message says why."""


@dataclass(frozen=True)
class Member:
    """An organization, for programs that act on its behalf.

    Args:
        client: its connection to the orchestrator.
        store: its files.
        store_url: the base of their addresses.
    """

    client: Client
    store: AssetStore
    store_url: str

    @property
    def name(self) -> str:
        """Its id."""
        return self.client.organization

    def put(self, name: str, content: bytes) -> pb.Addressable:
        """Write a file to the store, and return its address."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            stored = self.store.put(name, Path(file.name))
        return pb.Addressable(checksum=stored.checksum, storage_address=url(self.store_url, name))


@dataclass(frozen=True)
class Dataset:
    """What a hospital registered.

    Args:
        manager: key of its data manager.
        train: keys of the data samples to learn from.
        test: keys of those kept for testing.
    """

    manager: str
    train: Sequence[str]
    test: Sequence[str]


@dataclass(frozen=True)
class Functions:
    """The example's functions, as the orchestrator has them."""

    train: pb.Function
    aggregate: pb.Function
    test: pb.Function

    @property
    def all(self) -> Sequence[pb.Function]:
        """The three of them."""
        return (self.train, self.aggregate, self.test)


def join(federation: Running, organization: str) -> Member:
    """Act for an organization of a federation that runs on this machine; close its client afterwards.

    Raises:
        ValueError: it is not one of the organizations.
        OSError: its certificates cannot be read.
    """
    certificates = federation.certificates(organization)
    client = Client(federation.address, organization, federation.channel, certificates)
    store = AssetStore(str(federation.certificate_folder.parent / "stores" / organization))
    return Member(client, store, federation.stores[organization])


@contextmanager
def joined(federation: Running) -> Iterator[Mapping[str, Member]]:
    """Act for every organization of a federation that runs on this machine, until the block is over."""
    with ExitStack() as connections:
        members = {}
        for organization in federation.organizations:
            members[organization] = join(federation, organization)
            connections.enter_context(members[organization].client)
        yield members


def register_organizations(members: Iterable[Member]) -> None:
    """Register each with the address of its asset store, from which alone the others fetch, unless it is there already.

    Raises:
        CallError: the orchestrator refuses.
    """
    for member in members:
        try:
            member.client.register(pb.RegisterOrganizationParam(address=member.store_url))
        except CallError as error:
            if error.oe_code != "OE0006":
                raise


def register_functions(owner: Member, hospitals: Sequence[str]) -> Functions:
    """Register the functions of one organization, which its worker then builds.

    Args:
        owner: whose they are; the only one that may aggregate.
        hospitals: who may run the other functions.

    Raises:
        CallError: the orchestrator refuses.
    """
    optional_model = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
    return Functions(
        train=_register_function(
            owner,
            "train",
            hospitals,
            {"opener": _OPENER, "datasamples": _SAMPLES, "shared": optional_model},
            {"model": _MODEL},
        ),
        aggregate=_register_function(
            owner,
            "aggregate",
            (),
            {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)},
            {"model": _MODEL},
        ),
        test=_register_function(
            owner,
            "test",
            hospitals,
            {"opener": _OPENER, "datasamples": _SAMPLES, "model": pb.FunctionInput(kind=pb.ASSET_MODEL)},
            {"accuracy": _SCORE, "auc": _SCORE},
        ),
    )


def await_functions(client: Client, functions: Functions, check: Callable[[], None] = lambda: None) -> None:
    """Return once the functions are READY.

    Args:
        client: of their owner.
        functions: which.
        check: called meanwhile; raises if there is no hope.

    Raises:
        BuildError: one was not built.
        CallError: the orchestrator refuses.
    """
    deadline = time.monotonic() + _READY_SECONDS
    for function in functions.all:
        while (status := client.functions.GetFunction(pb.GetFunctionParam(key=function.key)).status) in (
            pb.FUNCTION_STATUS_WAITING,
            pb.FUNCTION_STATUS_BUILDING,
        ):
            check()
            if time.monotonic() > deadline:
                raise BuildError(f"function {function.name!r} was not built within {_READY_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)
        if status != pb.FUNCTION_STATUS_READY:
            raise BuildError(f"function {function.name!r} could not be built: {pb.FunctionStatus.Name(status)}")


def register_dataset(owner: Member, patients: "Hospital", analyst: str) -> Dataset:
    """Put a hospital's patients into its own asset store, and register that they exist.

    Args:
        owner: the hospital.
        patients: its own.
        analyst: the organization whose tasks may use them, by the functions that it may run; nobody else may.

    Raises:
        CallError: the orchestrator refuses.
    """
    from examples.breast_cancer.data import write_hospital  # brings scikit-learn, which takes a second

    manager = str(uuid.uuid4())
    description = f"# Breast cancer\n\nTumour cells of patients of {owner.name}, measured.\n"
    owner.client.register(
        pb.NewDataManager(
            key=manager,
            name=f"Breast cancer, {owner.name}",
            new_permissions=pb.NewPermissions(authorized_ids=[analyst]),
            description=owner.put(f"data_managers/{manager}/description", description.encode()),
            opener=owner.put(f"data_managers/{manager}/opener", OPENER.read_bytes()),
            logs_permission=pb.NewPermissions(),
        )
    )
    with tempfile.TemporaryDirectory() as scratch:
        folders = write_hospital(Path(scratch), patients)
        train = [_register_sample(owner, manager, folder) for folder in folders.train]
        test = [_register_sample(owner, manager, folder) for folder in folders.test]
    return Dataset(manager, train, test)


def _register_function(
    owner: Member,
    name: str,
    users: Sequence[str],
    inputs: Mapping[str, pb.FunctionInput],
    outputs: Mapping[str, pb.FunctionOutput],
) -> pb.Function:
    key = str(uuid.uuid4())
    description = f"# {name}\n\nA function of the breast-cancer example.\n"
    return owner.client.register(
        pb.NewFunction(
            key=key,
            name=name,
            description=owner.put(f"functions/{key}/description", description.encode()),
            archive=owner.put(f"functions/{key}/archive", archives.pack(FUNCTIONS / name)),
            new_permissions=pb.NewPermissions(authorized_ids=users),
            inputs=inputs,
            outputs=outputs,
        )
    )


def _register_sample(owner: Member, manager: str, folder: Path) -> str:
    from examples.breast_cancer.data import folder_checksum

    key = str(uuid.uuid4())
    for file in folder.rglob("*"):
        if file.is_file():
            owner.store.put(f"data_samples/{key}/{file.relative_to(folder).as_posix()}", file)
    owner.client.register(pb.NewDataSample(key=key, data_manager_keys=[manager], checksum=folder_checksum(folder)))
    return key
