"""An organization's asset store, asked by its peers over real TLS."""

import hashlib
import io
import json
import os
import re
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.client import Certificates
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.embedded.certificates import Layout, create_authority
from orchestrator.embedded.ports import free_port
from tests.kit.health import asked
from tests.kit.recorded import Recorded, serving
from tests.kit.stores import Store, log_of, stored
from tests.kit.waiting import wait_until
from workers.assets import store_server
from workers.assets.access import Access
from workers.assets.addresses import Asset, model
from workers.assets.downloads import Downloads
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore
from workers.channels import connect
from workers.errors import AddressFault, ChecksumFault, InternalFault, RefusedFault
from workers.settings import WorkerSettings

OWNER, FRIEND, STRANGER = "org-1", "org-2", "org-3"


@dataclass
class Running(Store):
    """A store's server process, and what it asks."""

    recorded: Recorded
    orchestrator: str
    health: str

    def status(self, organization: str, name: str) -> int:
        with self.peer(organization) as peer:
            return peer.get(f"/{name}").status_code

    def put(self, name: str, content: bytes) -> str:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return name

    def at(self, name: str) -> pb.Addressable:
        return pb.Addressable(storage_address=f"{self.address}/{name}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, certificates: Layout) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("store")
    health = f"127.0.0.1:{free_port()}"
    settings = {"ORCHESTRATOR_CHANNELS": "other,known", "ORCHESTRATOR_HEALTH_ADDRESS": health}
    with (
        serving() as (recorded, address),
        stored(root, certificates, OWNER, address, settings) as store,
    ):
        yield Running(store.address, root, certificates, store.process, recorded, address, health)


def permissions(*organizations: str, public: bool = False) -> pb.Permissions:
    return pb.Permissions(process=pb.Permission(public=public, authorized_ids=organizations))


def new_model(running: Running, content: bytes, allowed: pb.Permissions) -> str:
    key = str(uuid.uuid4())
    running.recorded.models[key] = pb.Model(
        key=key, owner=OWNER, permissions=allowed, address=running.at(f"models/{key}")
    )
    return running.put(f"models/{key}", content)


def test_it_is_ready_while_the_orchestrator_answers_and_its_folder_can_be_read(running: Running) -> None:
    assert asked(running.health, "/ready") == (200, "ok")
    running.recorded.unanswered = 1
    code, reason = asked(running.health, "/ready")
    assert (code, "the orchestrator does not say who may read what" in reason) == (503, True)
    aside = running.root.rename(running.root.with_name("aside"))
    try:
        code, reason = asked(running.health, "/ready")
        assert (code, "the folder of the store cannot be read" in reason) == (503, True)
    finally:
        aside.rename(running.root)
    assert asked(running.health, "/health") == (200, "ok")
    assert asked(running.health, "/ready") == (200, "ok")


def test_it_tells_how_long_its_certificate_is_good(running: Running) -> None:
    told = httpx.get(f"http://{running.health}/metrics", trust_env=False, timeout=60)
    (seconds,) = re.findall(r"^orchestrator_store_certificate_seconds (\S+)$", told.text, re.M)
    assert 0 < float(seconds) < 10 * 365 * 86400


def test_its_log_tells_of_each_request_under_the_id_that_the_answer_bears(running: Running) -> None:
    name = new_model(running, b"weights", permissions(OWNER))
    running.recorded.organizations = {OWNER: "", STRANGER: ""}
    given = f"mine-{uuid.uuid4()}"
    with running.peer(OWNER) as owner, running.peer(STRANGER) as stranger:
        read = owner.get(f"/{name}")
        refused = stranger.get(f"/{name}", headers={"x-request-id": given})
    assert refused.headers["x-request-id"] == given

    def told(request: str) -> dict[str, dict[str, Any]] | None:
        lines = [json.loads(line) for line in log_of(running.root).read_text().splitlines()]
        found = {line["event"]: line for line in lines if line.get("request") == request}
        return found if "request.answered" in found else None

    lines = wait_until(lambda: told(read.headers["x-request-id"]), timeout=60, message="the line of the request")
    assert lines["request.answered"]["status"] == 200
    assert lines["asset.read"]["organizations"] == [OWNER]
    lines = wait_until(lambda: told(given), timeout=60, message="the line of the refused request")
    assert lines["request.answered"]["status"] == 403
    assert lines["request.refused"]["reason"] == refused.json()["error"]


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
    running.recorded.organizations = {OWNER: "", FRIEND: "", STRANGER: ""}
    with running.peer(STRANGER) as peer:
        refused = peer.get(f"/{name}")
        assert refused.status_code == 403
        assert "org-3 may not read" in refused.json()["error"]


def test_whether_a_key_exists_is_for_its_channel_to_know(running: Running) -> None:
    running.recorded.organizations = {OWNER: "", FRIEND: ""}
    name, other = new_model(running, b"model", permissions(OWNER, FRIEND)), f"models/{uuid.uuid4()}"
    with running.peer(STRANGER) as peer:
        there, nowhere = peer.get(f"/{name}"), peer.get(f"/{other}")
    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.json()["error"].replace(name, other) == nowhere.json()["error"]


def test_a_download_breaks_off_when_its_certificate_does_not_hold_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_server, "_RECHECK_SECONDS", -1.0)
    answers = iter([None, PermissionDeniedError("revoked")])

    def check() -> None:
        if (refusal := next(answers)) is not None:
            raise refusal

    file = io.BytesIO(bytes(4 * store_server._CHUNK))
    chunks = store_server._chunks(file, check)
    assert len(next(chunks)) == store_server._CHUNK
    with pytest.raises(PermissionDeniedError):
        next(chunks)
    assert file.closed


def test_public_means_the_organizations_of_the_channel(running: Running) -> None:
    running.recorded.organizations = {OWNER: "", FRIEND: ""}
    name = new_model(running, b"model", permissions(public=True))
    assert running.status(FRIEND, name) == 200
    assert running.status(STRANGER, name) == 404


def test_functions_and_openers_are_served_by_their_permissions(running: Running) -> None:
    running.recorded.organizations = {OWNER: "", FRIEND: "", STRANGER: ""}
    key = str(uuid.uuid4())
    running.recorded.functions[key] = pb.Function(
        key=key,
        owner=OWNER,
        permissions=permissions(FRIEND),
        archive=running.at(f"functions/{key}/archive"),
        description=running.at(f"functions/{key}/description"),
    )
    running.recorded.data_managers[key] = pb.DataManager(
        key=key, owner=OWNER, permissions=permissions(FRIEND), opener=running.at(f"data_managers/{key}/opener")
    )
    for kind in ("functions/{}/archive", "functions/{}/description", "data_managers/{}/opener"):
        name = running.put(kind.format(key), b"content")
        assert running.status(FRIEND, name) == 200
        assert running.status(STRANGER, name) == 403


def test_each_part_of_an_asset_has_its_own_address(running: Running) -> None:
    key = str(uuid.uuid4())
    archive, description = (running.put(f"functions/{key}/{part}", b"content") for part in ("archive", "description"))
    function = pb.Function(
        key=key,
        owner=OWNER,
        permissions=permissions(FRIEND),
        archive=running.at(archive),
        description=running.at(archive),
    )
    running.recorded.functions[key] = function
    assert (running.status(FRIEND, archive), running.status(FRIEND, description)) == (200, 403)
    function.archive.storage_address = running.at(description).storage_address
    function.description.storage_address = running.at(description).storage_address
    assert (running.status(FRIEND, archive), running.status(FRIEND, description)) == (403, 200)


def test_a_store_that_was_not_told_its_url_goes_by_the_registered_address(running: Running, tmp_path: Path) -> None:
    name = new_model(running, b"model", permissions(OWNER))

    def check(registered: str) -> None:
        running.recorded.organizations = {OWNER: registered}
        # The addresses are kept for a while.
        with connect(settings_of(running, tmp_path, OWNER)) as channels:
            access = Access(channels, OWNER)
            assert access.address(name) == (f"{registered.rstrip('/')}/{name}" if registered else "")
            access.check(name, frozenset({OWNER}))

    check(f"{running.address}/")
    for registered in ("", "https://elsewhere.example", f"{running.address}/models/?"):
        with pytest.raises(PermissionDeniedError, match="registered"):
            check(registered)


def test_logs_are_served_once_reported_to_whom_the_task_names(running: Running) -> None:
    running.recorded.organizations = {OWNER: "", FRIEND: "", STRANGER: ""}
    key = str(uuid.uuid4())
    name = running.put(f"logs/{key}-2", b"log")
    running.put(f"logs/{key}-1", b"log")
    assert running.status(FRIEND, name) == 404
    address = pb.Addressable(storage_address=f"{running.address}/{name}")
    running.recorded.reports[key] = pb.FailureReport(
        asset_key=key, asset_type=pb.FAILED_ASSET_COMPUTE_TASK, owner=OWNER, logs_address=address
    )
    allowed = pb.Permission(authorized_ids=[FRIEND])
    running.recorded.tasks[key] = pb.ComputeTask(key=key, logs_permission=allowed)
    assert running.status(FRIEND, name) == 200
    assert running.status(STRANGER, name) == 403
    assert running.status(FRIEND, f"logs/{key}-1") == 403
    assert running.status(OWNER, f"logs/{key}-1") == 200


def test_the_log_of_a_step_is_read_by_who_ran_it_and_by_whose_execution_it_is_of(running: Running) -> None:
    running.recorded.organizations = {OWNER: "", FRIEND: "", STRANGER: ""}
    key = str(uuid.uuid4())
    name = running.put(f"task_logs/{key}/1", b"log")
    assert running.status(FRIEND, name) == 404
    running.recorded.steps[key] = pb.ShownStep(step=pb.ExecutionStep(key=key, owner=FRIEND), worker=OWNER)
    assert [running.status(who, name) for who in (OWNER, FRIEND, STRANGER)] == [200, 200, 403]
    running.recorded.steps[key].worker = FRIEND
    assert running.status(FRIEND, name) == 404


def test_only_what_the_orchestrator_says_is_this_very_file_is_served_even_to_its_owner(running: Running) -> None:
    allowed = permissions(OWNER, FRIEND)
    name = new_model(running, b"model", allowed)
    model = running.recorded.models[name.removeprefix("models/")]
    good = pb.Model.FromString(model.SerializeToString())
    assert [running.status(who, name) for who in (OWNER, FRIEND)] == [200, 200]

    def refused(status: int) -> None:
        for who in (OWNER, FRIEND):
            assert running.status(who, name) == status
        model.CopyFrom(good)

    model.owner = FRIEND
    refused(404)
    model.ClearField("address")
    refused(404)
    other = new_model(running, b"another", allowed)
    for elsewhere in (
        f"{running.address}/{other}",
        f"{running.address}/{name}/",
        f"{running.address}//{name}",
        f"{running.address}/x/../{name}",
        f"{running.address}/{name}?x",
        f"{running.address}/%6dodels/{model.key}",
        running.address.replace("https", "HTTPS") + f"/{name}",
        running.address.replace("127.0.0.1", "user@127.0.0.1") + f"/{name}",
        f"https://elsewhere.example/{name}",
    ):
        model.address.storage_address = elsewhere
        refused(403)
    assert running.status(FRIEND, name) == 200


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
        httpx.Client(verify=context, trust_env=False, timeout=60) as peer,
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


def settings_of(running: Running, tmp_path: Path, organization: str) -> WorkerSettings:
    return WorkerSettings(
        organization=organization,
        channels=("known",),
        address=running.orchestrator,
        peer_ca_cert=running.layout.peers,
        broker_url="redis://127.0.0.1:9",
        store_root=str(tmp_path / "own"),
        store_url="https://own.example.org",
        work_dir=tmp_path,
    )


@contextmanager
def fetching(
    running: Running, tmp_path: Path, organization: str, files: Mapping[str, Path] | None = None, **arguments: Any
) -> Iterator[Fetcher]:
    certificates = running.layout.peer(organization)
    settings = settings_of(running, tmp_path, organization)
    with connect(settings) as channels:
        # To its peers it shows a certificate, to the recorded orchestrator it speaks plain gRPC.
        files = files or {"client_cert": certificates.certificate, "client_key": certificates.key}
        (peers,) = channels.peers.values()
        store = AssetStore(settings.store_root)
        settings = settings.model_copy(update=files)
        with closing(Downloads(settings)) as downloads:
            yield Fetcher(settings, store, peers, downloads, attempts=2, **arguments)


def model_of(owner: str, address: str, checksum: str = "0" * 64, key: str = "") -> Asset:
    key = key or str(uuid.UUID(int=0))
    return model(pb.Model(key=key, owner=owner, address=pb.Addressable(checksum=checksum, storage_address=address)))


def test_a_worker_fetches_and_verifies(running: Running, tmp_path: Path) -> None:
    running.recorded.organizations = {OWNER: running.address, FRIEND: "", STRANGER: ""}
    content = os.urandom(300_000)
    name = new_model(running, content, permissions(FRIEND))
    checksum = hashlib.sha256(content).hexdigest()
    target = tmp_path / "model"

    def good(checksum: str = checksum) -> Asset:
        return model_of(OWNER, f"{running.address}/{name}", checksum, name.removeprefix("models/"))

    with fetching(running, tmp_path, FRIEND) as fetcher:
        fetcher.fetch(good(), target, 300_000)
        assert target.read_bytes() == content
    for fault, organization, registered, limit, complaint in (
        (ChecksumFault, FRIEND, "0" * 64, 300_000, "has the checksum"),
        (InternalFault, FRIEND, checksum, 299_999, "larger than 299999 bytes"),
        (RefusedFault, STRANGER, checksum, 300_000, "does not give it to org-3: its permissions must name org-3"),
    ):
        with fetching(running, tmp_path, organization) as fetcher, pytest.raises(fault, match=complaint):
            fetcher.fetch(good(registered), target, limit)
        assert not target.exists()


NOTHING = uuid.UUID(int=0)


@pytest.mark.parametrize(
    ("owner", "registered", "address", "complaint"),
    [
        # Of a peer: in its store and under its own key, or not at all.
        (OWNER, "", f"https://127.0.0.1:1/models/{NOTHING}", "nobody says where org-1's asset store is"),
        (None, "", f"https://127.0.0.1:1/models/{NOTHING}", "nobody says where org-1's asset store is"),
        (OWNER, "https://127.0.0.1:1", f"https://127.0.0.1:1/models/{uuid.UUID(int=1)}", "only fetched from"),
        (OWNER, "https://127.0.0.1:1", f"https://127.0.0.1:2/models/{NOTHING}", "only fetched from"),
        (OWNER, "https://127.0.0.1:1", f"https://own.example.org/models/{NOTHING}", "only fetched from"),
        (OWNER, "https://127.0.0.1:1", f"https://127.0.0.1:1/models/../models/{NOTHING}", "only fetched from"),
        (OWNER, "https://127.0.0.1:1", f"http://127.0.0.1:1/models/{NOTHING}", "only fetched from"),
        (OWNER, "https://127.0.0.1:1", "file:///etc/passwd", "only fetched from"),
        (OWNER, "http://127.0.0.1:1", f"http://127.0.0.1:1/models/{NOTHING}", "not a plain https URL"),
        # What would follow is a query: the file would be what stands before it.
        (OWNER, "https://127.0.0.1:1/a?", f"https://127.0.0.1:1/a?/models/{NOTHING}", "not a plain https URL"),
        (OWNER, "https://127.0.0.1:1", f"https://127.0.0.1:1/models/{NOTHING}", "could not be fetched"),
        # Of our own.
        (FRIEND, "", "https://own.example.org/data_samples/x", "only fetched from"),
        (FRIEND, "", "https://own.example.org/models/../../etc/passwd", "only fetched from"),
        (FRIEND, "https://127.0.0.1:1", f"https://127.0.0.1:1/models/{NOTHING}", "only fetched from"),
        (FRIEND, "", f"https://own.example.org/models/{NOTHING}", "missing from the own asset store"),
    ],
)
def test_a_bad_address_is_explained(
    running: Running, tmp_path: Path, owner: str | None, registered: str, address: str, complaint: str
) -> None:
    running.recorded.organizations = {owner: registered} if owner else {}
    with fetching(running, tmp_path, FRIEND) as fetcher, pytest.raises(InternalFault, match=complaint):
        fetcher.fetch(model_of(owner or OWNER, address), tmp_path / "model", 1000)
    assert not (tmp_path / "model").exists()


def test_what_the_organization_itself_names_goes_before_the_registered_address(
    running: Running, tmp_path: Path
) -> None:
    running.recorded.organizations = {OWNER: "https://moved.example.org", FRIEND: ""}
    name = new_model(running, b"model", permissions(FRIEND))
    checksum = hashlib.sha256(b"model").hexdigest()
    wanted = model_of(OWNER, f"{running.address}/{name}", checksum, name.removeprefix("models/"))
    with fetching(running, tmp_path, FRIEND) as fetcher, pytest.raises(AddressFault, match=r"moved\.example\.org"):
        fetcher.fetch(wanted, tmp_path / "model", 1000)
    with fetching(running, tmp_path, FRIEND, named={OWNER: running.address}) as fetcher:
        fetcher.fetch(wanted, tmp_path / "model", 1000)
    assert (tmp_path / "model").read_bytes() == b"model"


def test_an_address_that_is_registered_later_is_found(running: Running, tmp_path: Path) -> None:
    running.recorded.organizations = {}
    wanted = model_of(OWNER, f"https://127.0.0.1:1/models/{NOTHING}")
    with fetching(running, tmp_path, FRIEND) as fetcher:
        with pytest.raises(AddressFault, match="nobody says where"):
            fetcher.fetch(wanted, tmp_path / "model", 1000)
        running.recorded.organizations = {OWNER: "https://127.0.0.1:1"}
        with pytest.raises(InternalFault, match="could not be fetched"):
            fetcher.fetch(wanted, tmp_path / "model", 1000)
