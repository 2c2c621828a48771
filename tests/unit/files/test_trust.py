"""The folder of authorities and the list of what is denied, as an operator writes them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from orchestrator.core.documents import DocumentError
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.files.trust import read_denied, read_trust, watch_trust
from tests.issuing import authority, client, revocation_list

A = authority("a")


@pytest.fixture(autouse=True)
def configured() -> None:
    structlog.configure()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cas" / "a").mkdir(parents=True)
    (tmp_path / "cas" / "a" / "ca.crt").write_bytes(A.pem)
    return tmp_path / "cas"


def test_files_are_known_by_what_they_hold(folder: Path):
    other, leaf = authority("a"), client(A, "a")
    (folder / "a" / "other.der").write_bytes(other.certificate.public_bytes(Encoding.DER))
    crl = x509.load_pem_x509_crl(revocation_list(A, leaf))
    (folder / "a" / "list").write_bytes(crl.public_bytes(Encoding.DER))
    # As Kubernetes mounts a folder.
    (folder / "..data").mkdir()
    (folder / "a" / "..tmp").write_text("nothing")
    trust = read_trust(folder)
    trust.verify((client(other, "a").pem,), "a", datetime.now(UTC))
    with pytest.raises(PermissionDeniedError, match="revoked"):
        trust.verify((leaf.pem,), "a", datetime.now(UTC))


@pytest.mark.parametrize("content", [b"", b"nothing", A.private, b"\x30\x03abc"])
def test_a_file_that_holds_neither_is_named(folder: Path, content: bytes):
    (folder / "a" / "odd.crt").write_bytes(content)
    with pytest.raises(ValueError, match=r"^a/odd\.crt holds what cannot be an authority"):
        read_trust(folder)


def test_lists_that_need_care_are_told_of(folder: Path):
    (folder / "a" / "old.crl").write_bytes(revocation_list(A, days=-1))
    (folder / "a" / "between.crl").write_bytes(revocation_list(authority("between")))
    with capture_logs() as log:
        read_trust(folder)
    assert {line["event"] for line in log} == {
        "certificates.list_out_of_date",
        "certificates.list_of_unknown_issuer",
    }


def test_what_is_denied_is_read_again(folder: Path, tmp_path: Path):
    deny_list, leaf = tmp_path / "denied.yaml", client(A, "a")
    deny_list.write_text("authorities: []\n")
    trust = watch_trust(folder, deny_list)
    trust.look().verify((leaf.pem,), "a", datetime.now(UTC))
    deny_list.write_text(f"serials:\n  a: ['{leaf.serial.upper()}']\n")
    with pytest.raises(PermissionDeniedError, match="revoked"):
        trust.look().verify((leaf.pem,), "a", datetime.now(UTC))


def test_serials_and_fingerprints_are_written_as_openssl_prints_them(tmp_path: Path):
    file = tmp_path / "denied.yaml"
    digest = A.certificate.fingerprint(hashes.SHA256())
    file.write_text(f"serials: {{a: ['0A:1b', 0xff]}}\nauthorities: ['{digest.hex(':').upper()}', {digest.hex()}]\n")
    with pytest.raises(DocumentError, match="line 1: text is expected"):
        read_denied(file)
    file.write_text(f"serials: {{a: ['0A:1b', '0xff']}}\nauthorities: ['{digest.hex(':').upper()}']\n")
    denied = read_denied(file)
    assert denied.serials == {"a": {0x0A1B, 255}}
    assert denied.authorities == {digest}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("serials:\n  a: [12]", 2),
        ("serials:\n  a: ['xyz']", 2),
        ("serials:\n  a:\n  - '01'\n  - ''", 4),
        ("serials:\n  a: '01'", 2),
        ("authorities:\n- abcd", 2),
        ("serials: {}\nserial: {}", 2),
        ("- a", 1),
        ("", 1),
    ],
)
def test_a_list_of_another_shape_is_refused_with_its_line(tmp_path: Path, content: str, line: int):
    file = tmp_path / "denied.yaml"
    file.write_text(content)
    with pytest.raises(DocumentError, match=f"denied.yaml, line {line}: "):
        read_denied(file)
