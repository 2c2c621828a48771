"""Certificates as people give them: what is none, or another's, is found before anything is sent."""

import shutil
from pathlib import Path

import pytest

from orchestrator.client import AsyncClient, Certificates, Client, StoreError
from orchestrator.client.certificates import RenewedCertificates
from orchestrator.client.stores import tls
from orchestrator.embedded.certificates import Layout, lay_out


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Certificates of two organizations."""
    return lay_out(tmp_path_factory.mktemp("certificates"), ["org-1", "org-2"])


def given(layout: Layout, **changes: Path | str) -> Certificates:
    files = layout.client("org-1")
    paths = {"authority": files.authority, "certificate": files.certificate, "key": files.key, "peers": files.peers}
    return Certificates(**{**paths, **changes})


def test_what_fits_is_taken(layout: Layout) -> None:
    with Client("localhost:1", "org-1", "channel", given(layout)) as client:
        assert client.organization == "org-1"


@pytest.mark.parametrize("name", ["authority", "certificate", "key", "peers"])
def test_a_file_of_another_kind_is_named(layout: Layout, tmp_path: Path, name: str) -> None:
    other = tmp_path / "other.pem"
    shutil.copy(layout.client("org-1").certificate if name == "key" else layout.client("org-1").key, other)
    files = given(layout, **{name: other})
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=str(other)):
            kind("localhost:1", "org-1", "channel", files)
    with pytest.raises(StoreError, match=str(other)):
        tls(files, files.authority)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Client("localhost:1", "org-1", "channel", given(layout, **{name: tmp_path / "nowhere"}))


def test_the_key_of_another_certificate_is_found_but_by_what_may_begin_amid_a_renewal(layout: Layout) -> None:
    files = given(layout, key=layout.client("org-2").key)
    with pytest.raises(ValueError, match="do not belong together"):
        Client("localhost:1", "org-1", "channel", files)
    begun = RenewedCertificates(files.authority, files.certificate, files.key)
    Client("localhost:1", "org-1", "channel", begun).close()


@pytest.mark.parametrize("name", ["authority", "certificate", "key", "peers"])
def test_what_is_in_a_file_is_not_repeated(layout: Layout, name: str) -> None:
    secret = layout.client("org-1").key.read_text()
    with pytest.raises(ValueError, match=f"^{name} is given by the name of its file, not by what is in it$"):
        given(layout, **{name: secret})


@pytest.mark.parametrize("address", ["", "http://localhost:1", "https://localhost"])
def test_what_is_no_address_is_found(address: str) -> None:
    with pytest.raises(ValueError, match="the address of an orchestrator is host:port"):
        Client(address, "org-1", "channel")
