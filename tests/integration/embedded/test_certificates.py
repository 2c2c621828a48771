import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from orchestrator.client import Certificates
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.embedded.certificates import Layout, create_authority, lay_out
from orchestrator.files.trust import read_trust


def verify(certificate: bytes, organization: str, layout: Layout) -> None:
    """Check a certificate as the orchestrator does."""
    read_trust(layout.client_authorities).verify((certificate,), organization, datetime.now(UTC))


def handshake(server: Certificates, client: Certificates, host: str) -> bytes:
    """Return the client's certificate as the server sees it after a mutual TLS handshake, in memory."""
    contexts = []
    for purpose, files in ((ssl.Purpose.CLIENT_AUTH, server), (ssl.Purpose.SERVER_AUTH, client)):
        context = ssl.create_default_context(purpose, cafile=str(files.authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(files.certificate, files.key)
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(to_server, to_client, server_side=True),
        contexts[1].wrap_bio(to_client, to_server, server_hostname=host),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    certificate = ends[0].getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


@pytest.mark.parametrize("organization", ["org-1", "org-2"])
def test_each_organization_is_who_it_says_and_no_other(certificates: Layout, organization: str):
    other = "org-2" if organization == "org-1" else "org-1"
    certificate = certificates.client(organization).certificate.read_bytes()

    verify(certificate, organization, certificates)
    with pytest.raises(PermissionDeniedError, match="does not belong"):
        verify(certificate, other, certificates)


def test_an_authority_cannot_issue_for_another_organization(certificates: Layout, tmp_path: Path):
    authority = create_authority(certificates.root / "organizations" / "org-2", "org-2")
    forged = authority.issue(tmp_path, "forged", "org-1", hosts=())

    with pytest.raises(PermissionDeniedError, match="not issued by an authority"):
        verify(forged.certificate.read_bytes(), "org-1", certificates)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_worker_and_a_peers_store_trust_each_other(certificates: Layout, host: str):
    seen = handshake(certificates.store("org-1"), certificates.peer("org-2"), host)

    verify(seen, "org-2", certificates)


def test_a_store_is_trusted_under_its_hosts_only(certificates: Layout):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(certificates.store("org-1"), certificates.peer("org-2"), "elsewhere.example")


def test_a_client_certificate_cannot_serve(certificates: Layout):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates.peer("org-1"), certificates.peer("org-2"), "localhost")


def test_the_orchestrator_is_trusted_by_its_own_authority_alone(certificates: Layout, tmp_path: Path):
    bundle = tmp_path / "all.crt"
    bundle.write_bytes(certificates.peers.read_bytes())
    server = Certificates(bundle, certificates.server.certificate, certificates.server.key)

    handshake(server, certificates.client("org-1"), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, certificates.peer("org-1"), "localhost")


def test_keys_are_for_their_owner_only_and_serials_differ(certificates: Layout):
    keys = list(certificates.root.rglob("*.key"))
    serials = [
        x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        for path in certificates.root.rglob("*.crt")
        if "clients" not in path.parts and path != certificates.peers
    ]

    assert len(keys) == 11
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert len(set(serials)) == len(serials) == 11


def test_existing_files_are_kept_and_a_new_organization_is_added(tmp_path: Path):
    lay_out(tmp_path, ["org-1"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    layout = lay_out(tmp_path, ["org-1", "org-2"])

    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed == {layout.peers}
    assert len(x509.load_pem_x509_certificates(layout.peers.read_bytes())) == 2


def test_an_expired_certificate_is_renewed_with_its_key(tmp_path: Path):
    authority = create_authority(tmp_path, "org-1")
    paths = authority.issue(tmp_path, "client", hosts=(), days=0)
    old, key = paths.certificate.read_bytes(), paths.key.read_bytes()

    authority.issue(tmp_path, "client", hosts=())

    assert paths.certificate.read_bytes() != old
    assert paths.key.read_bytes() == key


def test_an_expired_authority_is_renewed_and_what_it_issued_stays_valid(tmp_path: Path):
    expired = create_authority(tmp_path, "org-1", days=0)
    server = expired.issue(tmp_path, "store")
    client = expired.issue(tmp_path, "client", hosts=())
    issued = client.certificate.read_bytes()
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(server, client, "localhost")

    renewed = create_authority(tmp_path, "org-1")

    assert renewed.issue(tmp_path, "client", hosts=()).certificate.read_bytes() == issued
    handshake(server, client, "localhost")


def test_a_certificate_of_a_lost_authority_or_for_other_hosts_is_replaced(tmp_path: Path):
    authority = create_authority(tmp_path, "org-1")
    paths = authority.issue(tmp_path, "store")
    first = paths.certificate.read_bytes()

    authority.issue(tmp_path, "store", hosts=("localhost", "127.0.0.1", "store.example"))
    second = paths.certificate.read_bytes()
    (tmp_path / "ca.key").unlink()
    create_authority(tmp_path, "org-1").issue(tmp_path, "store")

    assert first != second != paths.certificate.read_bytes()
    handshake(paths, paths, "localhost")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../evil", "nul\0"])
def test_an_organization_cannot_leave_the_folder(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        lay_out(tmp_path / "certificates", [name])

    assert not (tmp_path / "certificates").exists()


def test_a_broken_file_is_named(tmp_path: Path):
    create_authority(tmp_path, "org-1")
    (tmp_path / "ca.key").write_text("nonsense")

    with pytest.raises(ValueError, match=r"ca\.key holds no elliptic-curve key; remove it"):
        create_authority(tmp_path, "org-1")
