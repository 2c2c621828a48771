"""The folder of authorities and the list of what is denied, as an operator writes them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orchestrator.core.authorities import Authorities, check_apart, keep_apart
from orchestrator.core.documents import DocumentError
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import Trust
from orchestrator.files.trust import read_denied, read_trust, watch_trust
from tests.kit.issuing import Issued, authority, client, revocation_list

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


B, C = authority("b"), authority("c")
NOW = datetime.now(UTC)


def collide(folder: Path) -> None:
    (folder / "b" / "new.crt").write_bytes(authority("b", identifier=A.identifier).pem)


def take_the_same(folder: Path) -> None:
    (folder / "b" / "new.crt").write_bytes(A.pem)


def be_issued_by_another(folder: Path) -> None:
    (folder / "b" / "new.crt").write_bytes(authority("b", A).pem)


def be_unusable(folder: Path) -> None:
    (folder / "b" / "new.crt").write_bytes(authority("b", key=ec.generate_private_key(ec.SECP256K1())).pem)


def be_nothing(folder: Path) -> None:
    (folder / "b" / "new.crt").write_bytes(b"nothing")


def be_no_list(folder: Path) -> None:
    (folder / "b" / "b.crl").write_bytes(revocation_list(Issued(B.certificate, A.key, None)))


@pytest.fixture
def three(folder: Path) -> Path:
    for issuer, name in ((B, "b"), (C, "c")):
        (folder / name).mkdir()
        (folder / name / "ca.crt").write_bytes(issuer.pem)
    return folder


def speaks(trust: Trust, issuer: Issued, organization: str) -> bool:
    try:
        trust.verify((client(issuer, organization).pem,), organization, datetime.now(UTC))
    except PermissionDeniedError:
        return False
    return True


@pytest.mark.parametrize(
    "spoil",
    [collide, take_the_same, be_issued_by_another, be_unusable, be_nothing, be_no_list],
    ids=lambda f: f.__name__,
)
def test_what_one_organization_spoils_holds_up_nobody_else(three: Path, tmp_path: Path, spoil):
    deny_list, leaf, denied = tmp_path / "denied.yaml", client(A, "a"), client(A, "a")
    deny_list.write_text("serials: {}\n")
    watched = watch_trust(three, deny_list)
    for each in (leaf, denied):
        watched.look().verify((each.pem,), "a", NOW)
    spoil(three)
    with capture_logs() as log:
        watched.look()
        held = watched.look()
        assert speaks(held, B, "b")
        (three / "a" / "a.crl").write_bytes(revocation_list(A, leaf))
        deny_list.write_text(f"serials: {{a: ['{denied.serial}']}}\n")
        shutil.rmtree(three / "c")
        for each in (leaf, denied):
            with pytest.raises(PermissionDeniedError, match="revoked"):
                watched.look().verify((each.pem,), "a", NOW)
        assert watched.look() is watched.look(), "what it has verified is not forgotten at each look"
        assert not speaks(watched.look(), C, "c")
        assert speaks(watched.look(), B, "b")
    assert [line["event"] for line in log] == ["certificates.not_reloaded"]
    assert "b keeps" in log[0]["error"]
    with pytest.raises(ValueError, match="b"):
        read_trust(three)


def test_an_organization_whose_authorities_collide_still_revokes(three: Path):
    """Or another that copied an identifier of its new authority first would keep it from that."""
    watched, leaf = watch_trust(three), client(A, "a")
    watched.look().verify((leaf.pem,), "a", NOW)
    (three / "a" / "new.crt").write_bytes(authority("a", identifier=B.identifier).pem)
    (three / "a" / "a.crl").write_bytes(revocation_list(A, leaf))
    with pytest.raises(PermissionDeniedError, match="revoked"):
        watched.look().verify((leaf.pem,), "a", NOW)


def test_a_wrong_or_missing_deny_list_keeps_what_was_denied_and_nothing_else(three: Path, tmp_path: Path):
    deny_list, leaf, other = tmp_path / "denied.yaml", client(A, "a"), client(A, "a")
    deny_list.write_text(f"serials: {{a: ['{leaf.serial}']}}\n")
    watched = watch_trust(three, deny_list)
    deny_list.write_text("serials: [\n")
    (three / "a" / "a.crl").write_bytes(revocation_list(A, other))
    for _ in range(2):
        for each in (leaf, other):
            with pytest.raises(PermissionDeniedError, match="revoked"):
                watched.look().verify((each.pem,), "a", NOW)
        deny_list.unlink(missing_ok=True)


def test_a_folder_that_is_gone_keeps_all_but_what_is_denied(three: Path, tmp_path: Path):
    deny_list, leaf = tmp_path / "denied.yaml", client(A, "a")
    deny_list.write_text("serials: {}\n")
    watched = watch_trust(three, deny_list)
    three.rename(tmp_path / "away")
    deny_list.write_text(f"serials: {{a: ['{leaf.serial}']}}\n")
    assert speaks(watched.look(), A, "a")
    with pytest.raises(PermissionDeniedError, match="revoked"):
        watched.look().verify((leaf.pem,), "a", NOW)


def test_a_collision_that_is_mended_is_taken(three: Path):
    watched, new = watch_trust(three), authority("b", identifier=C.identifier)
    (three / "b" / "new.crt").write_bytes(new.pem)
    assert not speaks(watched.look(), new, "b")
    shutil.rmtree(three / "c")
    assert speaks(watched.look(), new, "b")


POOL = (A, B, C, authority("d", identifier=A.identifier), authority("e", B), authority("f", identifier=C.identifier))
sets = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.sampled_from(POOL), min_size=1, max_size=3, unique_by=id), max_size=4
)


def authorities_of(organizations: dict[str, list[Issued]]) -> dict[str, Authorities]:
    return {
        name: Authorities(tuple(issued.certificate for issued in issuers)) for name, issuers in organizations.items()
    }


@given(sets, sets)
def test_whatever_changes_organizations_stay_apart_and_only_those_that_collide_wait(before, wanted):
    try:
        check_apart(authorities_of(before))
    except ValueError:
        before = {}
    before, wanted = authorities_of(before), authorities_of(wanted)
    held, faults = keep_apart(before, wanted)
    check_apart(held)
    assert held.keys() <= wanted.keys(), "who was removed is removed"
    waiting = {name for name in wanted if held.get(name) != wanted[name]}
    assert len(faults) == len(waiting)
    for name in waiting:
        assert held.get(name) == before.get(name)
        with pytest.raises(ValueError, match="needs authorities of its own"):
            check_apart({**held, name: wanted[name]})


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
