"""An organization's asset store, asked by its peers over real TLS."""

import hashlib
import os
import signal
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.client import Certificates
from orchestrator.embedded.certificates import Layout, create_authority
from orchestrator.embedded.ports import free_port
from tests.waiting import wait_until
from workers.errors import ChecksumFault, InternalFault
from workers.fetching import Fetcher
from workers.settings import WorkerSettings
from workers.store import AssetStore

from .recorded import Recorded, serving

OWNER, FRIEND, STRANGER = "org-1", "org-2", "org-3"


@dataclass
class Running:
    """A store's server process, and what it asks."""

    address: str
    root: Path
    recorded: Recorded
    layout: Layout
    process: "subprocess.Popen[bytes]"

    def peer(self, organization: str) -> httpx.Client:
        return self.peer_with(self.layout.peer(organization))

    def peer_with(self, certificates: Certificates) -> httpx.Client:
        context = ssl.create_default_context(cafile=certificates.authority)
        context.load_cert_chain(certificates.certificate, certificates.key)
        return httpx.Client(verify=context, base_url=self.address, trust_env=False)

    def status(self, organization: str, name: str) -> int:
        with self.peer(organization) as peer:
            return peer.get(f"/{name}").status_code

    def put(self, name: str, content: bytes) -> str:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return name


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, certificates: Layout) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("store")
    store = certificates.store(OWNER)
    port = free_port()
    with serving() as (recorded, address):
        environment = {
            "ORCHESTRATOR_ORGANIZATION": OWNER,
            "ORCHESTRATOR_CHANNELS": "other,known",
            "ORCHESTRATOR_ADDRESS": address,
            "ORCHESTRATOR_STORE_ROOT": str(root),
            "ORCHESTRATOR_STORE_ADDRESS": f"127.0.0.1:{port}",
            "ORCHESTRATOR_STORE_CERT": str(store.certificate),
            "ORCHESTRATOR_STORE_KEY": str(store.key),
            "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(certificates.client_authorities),
        }
        script = (
            "import sys; from workers.settings import StoreSettings; from workers.store_server import serve; "
            "sys.exit(serve(StoreSettings()))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
        ) as process:
            served = Running(f"https://127.0.0.1:{port}", root, recorded, certificates, process)
            try:
                wait_until(lambda: _answers(served), timeout=20, message="the store's server to answer")
                yield served
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0


def _answers(served: Running) -> bool:
    try:
        return served.status(OWNER, "nothing") == 404
    except httpx.TransportError:
        return False


def permissions(*organizations: str, public: bool = False) -> pb.Permissions:
    return pb.Permissions(process=pb.Permission(public=public, authorized_ids=organizations))


def new_model(running: Running, content: bytes, allowed: pb.Permissions) -> str:
    key = str(uuid.uuid4())
    running.recorded.models[key] = pb.Model(key=key, permissions=allowed)
    return running.put(f"models/{key}", content)


def test_those_who_may_process_a_model_get_it(running: Running) -> None:
    content = os.urandom(1_000_000)
    name = new_model(running, content, permissions(OWNER, FRIEND))
    with running.peer(FRIEND) as peer:
        answer = peer.get(f"/{name}")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["Content-Length"] == "1000000"
        head = peer.head(f"/{name}")
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "1000000", b"")
    assert running.status(OWNER, name) == 200
    with running.peer(STRANGER) as peer:
        refused = peer.get(f"/{name}")
        assert refused.status_code == 403
        assert "org-3 may not read" in refused.json()["error"]


def test_public_means_the_organizations_of_the_channel(running: Running) -> None:
    running.recorded.organizations = [OWNER, FRIEND]
    name = new_model(running, b"model", permissions(public=True))
    assert running.status(FRIEND, name) == 200
    assert running.status(STRANGER, name) == 403


def test_functions_and_openers_are_served_by_their_permissions(running: Running) -> None:
    key = str(uuid.uuid4())
    running.recorded.functions[key] = pb.Function(key=key, permissions=permissions(FRIEND))
    running.recorded.data_managers[key] = pb.DataManager(key=key, permissions=permissions(FRIEND))
    for kind in ("functions/{}/archive", "functions/{}/description", "data_managers/{}/opener"):
        name = running.put(kind.format(key), b"content")
        assert running.status(FRIEND, name) == 200
        assert running.status(STRANGER, name) == 403


def test_logs_are_served_once_reported_to_whom_the_task_names(running: Running) -> None:
    key = str(uuid.uuid4())
    name = running.put(f"logs/{key}-2", b"log")
    running.put(f"logs/{key}-1", b"log")
    assert running.status(FRIEND, name) == 404
    address = pb.Addressable(storage_address=f"{running.address}/{name}")
    running.recorded.reports[key] = pb.FailureReport(
        asset_key=key, asset_type=pb.FAILED_ASSET_COMPUTE_TASK, logs_address=address
    )
    allowed = pb.Permission(authorized_ids=[FRIEND])
    running.recorded.tasks[key] = pb.ComputeTask(key=key, logs_permission=allowed)
    assert running.status(FRIEND, name) == 200
    assert running.status(STRANGER, name) == 403
    assert running.status(FRIEND, f"logs/{key}-1") == 403


def test_what_is_no_asset_is_not_found(running: Running) -> None:
    key = str(uuid.uuid4())
    running.put(f"data_samples/{key}/patients.csv", b"private")
    new_model(running, b"model", permissions(OWNER))
    for name in (
        f"data_samples/{key}/patients.csv",
        f"data_samples/{key}",
        f"models/%2e%2e/data_samples/{key}/patients.csv",
        f"models/..%2fdata_samples%2f{key}%2fpatients.csv",
        "models/",
        "",
        "%2fetc/passwd",
        f"models/{uuid.uuid4()}",
    ):
        assert running.status(OWNER, name) == 404, name


def test_nothing_can_be_written(running: Running) -> None:
    name = new_model(running, b"model", permissions(OWNER))
    with running.peer(OWNER) as peer:
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            answer = peer.request(method, f"/{name}", content=b"other")
            assert answer.status_code == 405
            assert "error" in answer.json()
    assert (running.root / name).read_bytes() == b"model"


def test_without_a_certificate_there_is_no_connection(running: Running) -> None:
    context = ssl.create_default_context(cafile=running.layout.peers)
    with (
        httpx.Client(verify=context, trust_env=False) as peer,
        pytest.raises(httpx.TransportError),
    ):
        peer.get(f"{running.address}/models/{uuid.uuid4()}")


def test_a_certificate_for_another_organization_is_refused(running: Running, tmp_path: Path) -> None:
    name = new_model(running, b"model", permissions(FRIEND))
    folder = running.layout.root / "organizations" / STRANGER
    forged = create_authority(folder, STRANGER).issue(tmp_path, "forged", organization=FRIEND, hosts=())
    with running.peer_with(Certificates(running.layout.peers, forged.certificate, forged.key)) as peer:
        answer = peer.get(f"/{name}")
    assert answer.status_code == 401
    assert "speaks for no known organization" in answer.json()["error"]


def fetcher(running: Running, tmp_path: Path, organization: str) -> Fetcher:
    certificates = running.layout.peer(organization)
    settings = WorkerSettings(
        organization=organization,
        channels=("known",),
        address="127.0.0.1:9",
        client_ca_cert=certificates.authority,
        client_cert=certificates.certificate,
        client_key=certificates.key,
        peer_ca_cert=running.layout.peers,
        broker_url="redis://127.0.0.1:9",
        store_root=str(tmp_path / "own"),
        store_url="https://own.example.org",
        work_dir=tmp_path,
    )
    return Fetcher(settings, AssetStore(settings.store_root), attempts=2)


def test_a_worker_fetches_and_verifies(running: Running, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    name = new_model(running, content, permissions(FRIEND))
    good = pb.Addressable(checksum=hashlib.sha256(content).hexdigest(), storage_address=f"{running.address}/{name}")
    target = tmp_path / "model"
    fetcher(running, tmp_path, FRIEND).fetch(good, target, "the model", 300_000)
    assert target.read_bytes() == content

    for fault, organization, checksum, limit, complaint in (
        (ChecksumFault, FRIEND, "0" * 64, 300_000, "has the checksum"),
        (InternalFault, FRIEND, good.checksum, 299_999, "larger than 299999 bytes"),
        (InternalFault, STRANGER, good.checksum, 300_000, "answered 403.*org-3 may not read"),
    ):
        address = pb.Addressable(checksum=checksum, storage_address=good.storage_address)
        with pytest.raises(fault, match=complaint):
            fetcher(running, tmp_path, organization).fetch(address, target, "the model", limit)
        assert not target.exists()


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("http://127.0.0.1:1/models/x", "no https URL"),
        ("file:///etc/passwd", "no https URL"),
        ("https://own.example.org/data_samples/x", "no address of an asset"),
        ("https://own.example.org/models/../../etc/passwd", "no address of an asset"),
        (f"https://own.example.org/models/{uuid.UUID(int=0)}", "missing from the own asset store"),
        ("https://127.0.0.1:1/models/x", "could not be fetched"),
    ],
)
def test_a_bad_address_is_explained(running: Running, tmp_path: Path, address: str, complaint: str) -> None:
    bad = pb.Addressable(checksum="0" * 64, storage_address=address)
    with pytest.raises(InternalFault, match=complaint):
        fetcher(running, tmp_path, FRIEND).fetch(bad, tmp_path / "model", "the model", 1000)
