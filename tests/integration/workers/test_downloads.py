"""How a worker fetches from one peer again and again: over one connection, and an archive once."""

import hashlib
import shutil
import uuid
from pathlib import Path

import pytest

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.addresses import Asset
from workers.assets.store import AssetStore
from workers.errors import ChecksumFault, InternalFault
from workers.run import inputs

from .test_store_server import FRIEND, OWNER, STRANGER, Running, fetching, model_of, new_model, permissions, running

__all__ = ["running"]


@pytest.fixture
def archive(running: Running) -> tuple[Asset, Path]:
    running.recorded.organizations = {OWNER: running.address, FRIEND: ""}
    key, content = str(uuid.uuid4()), b"an archive"
    name = running.put(f"functions/{key}/archive", content)
    function = pb.Function(key=key, owner=OWNER, archive=running.at(name), permissions=permissions(FRIEND))
    function.archive.checksum = hashlib.sha256(content).hexdigest()
    running.recorded.functions[key] = function
    return addresses.archive(function), running.root / name


def test_an_archive_is_fetched_once(running: Running, tmp_path: Path, archive: tuple[Asset, Path]) -> None:
    asset, served = archive
    target = tmp_path / "target"
    with fetching(running, tmp_path, FRIEND) as fetcher:
        fetcher.fetch(asset, target, 1000, keep=True)
        served.unlink()
        target.unlink()
        fetcher.fetch(asset, target, 1000, keep=True)
        assert target.read_bytes() == b"an archive"
        with pytest.raises(InternalFault, match="answered 404"):
            fetcher.fetch(asset, target, 1000)


def test_one_that_was_damaged_is_fetched_again(running: Running, tmp_path: Path, archive: tuple[Asset, Path]) -> None:
    asset, served = archive
    target = tmp_path / "target"
    with fetching(running, tmp_path, FRIEND) as fetcher:
        fetcher.fetch(asset, target, 1000, keep=True)
        kept = tmp_path / f"{FRIEND}.kept" / asset.address.checksum
        kept.write_bytes(b"something")
        fetcher.fetch(asset, target, 1000, keep=True)
        assert target.read_bytes() == b"an archive"
        assert kept.read_bytes() == b"an archive"
        kept.write_bytes(b"something")
        served.unlink()
        with pytest.raises(InternalFault, match="answered 404"):
            fetcher.fetch(asset, target, 1000, keep=True)
    assert not target.exists()


def test_a_model_is_asked_for_each_time(running: Running, tmp_path: Path) -> None:
    running.recorded.organizations = {OWNER: running.address, FRIEND: ""}
    name = new_model(running, b"model", permissions(FRIEND))
    key = name.removeprefix("models/")
    wanted = model_of(OWNER, f"{running.address}/{name}", hashlib.sha256(b"model").hexdigest(), key)
    with fetching(running, tmp_path, FRIEND) as fetcher:
        fetcher.fetch(wanted, tmp_path / "model", 1000)
        running.recorded.models[key].permissions.CopyFrom(permissions(STRANGER))
        with pytest.raises(InternalFault, match="does not give it to org-2: its permissions must name org-2"):
            fetcher.fetch(wanted, tmp_path / "model", 1000)


def test_a_renewed_certificate_is_shown_at_the_next_file(running: Running, tmp_path: Path) -> None:
    """Of another organization here, so that it can be told apart."""
    running.recorded.organizations = {OWNER: running.address, FRIEND: "", STRANGER: ""}
    name = new_model(running, b"model", permissions(FRIEND))
    key = name.removeprefix("models/")
    wanted = model_of(OWNER, f"{running.address}/{name}", hashlib.sha256(b"model").hexdigest(), key)
    own = tmp_path / "certificates"
    own.mkdir()
    shown = {"client_cert": own / "certificate", "client_key": own / "key"}

    def show(organization: str) -> None:
        certificates = running.layout.peer(organization)
        shutil.copy(certificates.certificate, shown["client_cert"])
        shutil.copy(certificates.key, shown["client_key"])

    show(FRIEND)
    with fetching(running, tmp_path, FRIEND, files=shown) as fetcher:
        fetcher.fetch(wanted, tmp_path / "model", 1000)
        fetcher.fetch(wanted, tmp_path / "model", 1000)
        show(STRANGER)
        with pytest.raises(InternalFault, match="does not give it to org-2: its permissions must name org-2"):
            fetcher.fetch(wanted, tmp_path / "model", 1000)


def test_models_are_fetched_several_at_once_and_one_that_is_wrong_ends_them(running: Running, tmp_path: Path) -> None:
    running.recorded.organizations = {OWNER: running.address, FRIEND: ""}
    contents = [f"model {number}".encode() for number in range(9)]
    assets = []
    for content in contents:
        name = new_model(running, content, permissions(FRIEND))
        key = name.removeprefix("models/")
        address = pb.Addressable(
            checksum=hashlib.sha256(content).hexdigest(), storage_address=f"{running.address}/{name}"
        )
        model = pb.Model(key=key, owner=OWNER, address=address)
        assets.append(pb.ComputeTaskInputAsset(identifier="models", model=model))
    declared = {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)}
    store = AssetStore(str(tmp_path / "own"))
    (tmp_path / "inputs").mkdir()
    with fetching(running, tmp_path, FRIEND) as fetcher:
        read = inputs.prepare(assets, declared, tmp_path / "inputs", fetcher, store, FRIEND, 1000)
        assert [resource.path.read_bytes() for resource in read] == contents
        assets[4].model.address.checksum = "0" * 64
        with pytest.raises(ChecksumFault, match=assets[4].model.key):
            inputs.prepare(assets, declared, tmp_path / "inputs", fetcher, store, FRIEND, 1000)
    assert not (tmp_path / "inputs" / "4").exists()
