"""org-1 at home: with an asset store of its own behind a proxy, in a channel of a real server, and org-2 beside it."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.folders import digest
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from tests.kit.proxy import Proxy
from tests.kit.stores import Store, stored

DECLARED = """
inputs:
  models: {kind: model, multiple: true}
outputs:
  model: {kind: model}
"""


@dataclass
class Home:
    """org-1, with an asset store of its own, which is reached through a proxy.

    Args:
        client: of org-1.
        other: of org-2, in the same channel.
        store: the server of org-1's store.
        proxy: in front of it.
        url: the store's, as it is registered.
        serve: serves the store again.
    """

    client: Client
    other: Client
    store: Store
    proxy: Proxy
    url: str

    def is_there(self, address: pb.Addressable) -> bytes:
        """Return the file of an address, which is what was registered."""
        content = (self.store.root / address.storage_address.removeprefix(f"{self.url}/")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == address.checksum
        return content

    def samples(self) -> set[str]:
        folder = self.store.root / "data_samples"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def function(self, folder: Path, declared: str = DECLARED, **arguments: object) -> pb.Function:
        return self.client.add_function(function_in(folder, declared), **arguments)

    def built(self, function: pb.Function) -> pb.Function:
        """Return a function that is READY, as its worker makes it."""
        for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
            self.act(function, action)
        return function

    def act(self, function: pb.Function, action: int) -> None:
        asked = pb.ApplyFunctionActionParam(function_key=function.key, action=action)
        self.client.functions.ApplyFunctionAction(asked)


def function_in(folder: Path, declared: str = DECLARED) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text('ENTRYPOINT ["python3", "function.py"]\n')
    (folder / "function.py").write_text("print(1)\n")
    (folder / "function.yaml").write_text(declared)
    return folder


def folders_in(folder: Path, *contents: bytes) -> list[Path]:
    made = []
    for number, content in enumerate(contents):
        sample = folder / f"sample-{number}"
        sample.mkdir(parents=True)
        (sample / "patients.csv").write_bytes(content)
        made.append(sample)
    return made


@contextmanager
def serving_store(root: Path, layout: Layout, orchestrator: str, channel: str, port: int, url: str) -> Iterator[Store]:
    ours = layout.client("org-1")
    settings = {
        "ORCHESTRATOR_CHANNELS": channel,
        "ORCHESTRATOR_CLIENT_CA_CERT": str(ours.authority),
        "ORCHESTRATOR_CLIENT_CERT": str(ours.certificate),
        "ORCHESTRATOR_CLIENT_KEY": str(ours.key),
        "ORCHESTRATOR_STORE_URL": url,
    }
    with stored(root, layout, "org-1", orchestrator, settings, port) as store:
        yield store


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, served_address: str, certificates: Layout, free_channels: Iterator[str]
) -> Iterator[Home]:
    channel, port = next(free_channels), free_port()
    with Proxy(port) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        root = tmp_path_factory.mktemp("store")
        with (
            serving_store(root, certificates, served_address, channel, port, url) as store,
            Client(served_address, "org-1", channel, certificates.client("org-1")) as client,
            Client(served_address, "org-2", channel, certificates.client("org-2")) as other,
        ):
            client.register_organization(url)
            other.register_organization("")
            yield Home(client, other, store, proxy, url)


def done(home: Home, task: str, content: bytes, at: str = "") -> str:
    """Do a task as its worker does; return the key of its model."""
    client, key = home.client, str(uuid.uuid4())
    file = home.store.root / "models" / key
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    client.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=task, action=pb.TASK_ACTION_EXECUTING))
    address = pb.Addressable(checksum=digest(file), storage_address=at or f"{home.url}/models/{key}")
    model = pb.NewModel(key=key, compute_task_key=task, compute_task_output_identifier="model", address=address)
    client.models.RegisterModels(pb.RegisterModelsParam(models=[model]))
    if "auc" in client.tasks.GetTask(pb.GetTaskParam(key=task)).outputs:
        measured = pb.NewPerformance(compute_task_key=task, compute_task_output_identifier="auc", performance_value=0.5)
        client.performances.RegisterPerformance(measured)
    client.tasks.ApplyTaskAction(pb.ApplyTaskActionParam(compute_task_key=task, action=pb.TASK_ACTION_DONE))
    return key
