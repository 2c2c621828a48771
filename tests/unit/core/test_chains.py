"""Chains as openssl, cert-manager and `cryptography` make them, and what none of them may do."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.core import authorities, chains, identity
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import Trust
from tests.kit.issuing import Issued, authority, client, new_key, sign, subject, usage

CERT_MANAGER_CA = (usage(digital_signature=True, key_encipherment=True, key_cert_sign=True), True)
CERT_MANAGER_LEAF = (
    (usage(digital_signature=True, key_encipherment=True), True),
    (x509.BasicConstraints(False, None), True),
)
CLIENT_AUTH = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
KEYS = {
    "P-256": new_key,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def trust(**organizations: bytes) -> Trust:
    return Trust({name: authorities.read({"ca.crt": pem}) for name, pem in organizations.items()})


def accepted(presented: bytes, pem: bytes) -> None:
    trust(a=pem).verify((presented,), "a", datetime.now(UTC))


def refused(presented: bytes, pem: bytes, why: str) -> None:
    with pytest.raises(PermissionDeniedError, match=f"OE0102.*{why}"):
        trust(a=pem).verify((presented,), "a", datetime.now(UTC))


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("key", KEYS)
def test_authorities_with_every_kind_of_key_vouch(key: str):
    root = authority("a", key=KEYS[key]())
    accepted(client(root, "a").chain, root.pem)
    if key != "Ed25519":
        accepted(client(authority("a", root, key=KEYS[key]()), "a").chain, root.pem)


@pytest.mark.parametrize("kind", ["ed25519", "rsa:2048", "ec"])
@pytest.mark.parametrize("extended", ["", "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth"])
def test_what_openssl_makes_is_accepted(tmp_path: Path, kind: str, extended: str):
    new = ["-newkey", kind, *(["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []), "-nodes"]
    openssl(tmp_path, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/O=a/CN=ca", "-days", "9")
    leaf = ["-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/O=a/CN=leaf"]
    openssl(tmp_path, "req", *leaf)
    (tmp_path / "leaf.cnf").write_text(f"authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n{extended}\n")
    issue = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9"]
    openssl(tmp_path, *issue, "-extfile", "leaf.cnf", "-out", "leaf.crt")
    accepted((tmp_path / "leaf.crt").read_bytes(), (tmp_path / "ca.crt").read_bytes())


def test_openssl_with_key_usages_and_an_intermediate_is_accepted(tmp_path: Path):
    (tmp_path / "ca.cnf").write_text(
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,keyCertSign,cRLSign\n"
    )
    (tmp_path / "leaf.cnf").write_text("authorityKeyIdentifier=keyid\n")
    sign_it = ["x509", "-req", "-CAcreateserial", "-days", "9"]
    for name in ("ca", "between", "leaf"):
        new = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        openssl(tmp_path, "req", *new, "-subj", f"/O=a/CN={name}")
    openssl(tmp_path, "x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-extfile", "ca.cnf", "-out", "ca.crt")
    for name, by, extensions in (("between", "ca", "ca"), ("leaf", "between", "leaf")):
        whose = ["-in", f"{name}.csr", "-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-extfile", f"{extensions}.cnf"]
        openssl(tmp_path, *sign_it, *whose, "-out", f"{name}.crt")
    presented = (tmp_path / "leaf.crt").read_bytes() + (tmp_path / "between.crt").read_bytes()
    accepted(presented, (tmp_path / "ca.crt").read_bytes())
    refused((tmp_path / "leaf.crt").read_bytes(), (tmp_path / "ca.crt").read_bytes(), "not issued by an authority")


def test_what_cert_manager_makes_is_accepted():
    root = authority("a", None, CERT_MANAGER_CA)
    accepted(client(root, "a", extra=CERT_MANAGER_LEAF).chain, root.pem)
    accepted(client(root, "a", extra=[*CERT_MANAGER_LEAF, CLIENT_AUTH]).chain, root.pem)
    accepted(client(authority("a", root, CERT_MANAGER_CA), "a", extra=CERT_MANAGER_LEAF).chain, root.pem)


def test_an_intermediate_may_itself_be_the_authority():
    between = authority("a", authority("elsewhere"))
    accepted(client(between, "a").pem, between.pem)


def test_a_leaf_that_openssl_calls_an_authority_is_a_leaf_all_the_same():
    """`openssl req -x509 -CA … ` says CA:TRUE where nobody says otherwise."""
    root = authority("a")
    accepted(client(root, "a", extra=[(x509.BasicConstraints(True, None), True)]).chain, root.pem)


ROOT = authority("a")
SHORT = authority("a", path_length=0)
SIGNS_NOTHING = (usage(digital_signature=True), True)
DNS_NAMES = (x509.NameConstraints([x509.DNSName("a.example")], None), True)
OTHER_NAME = (x509.SubjectAlternativeName([x509.DNSName("b.example")]), False)
ITS_NAME = (x509.SubjectAlternativeName([x509.DNSName("worker.a.example")]), False)
SERVER_AUTH = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
BY_DIRECTORY = (
    x509.NameConstraints([x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]))], None),
    False,
)
ED25519 = authority("a", key=ed25519.Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("leaf", "root", "why"),
    [
        (client(authority("a", SHORT), "a"), SHORT, "path length"),
        (client(client(ROOT, "a"), "a"), ROOT, "not issued by"),
        (
            client(sign(ROOT, subject(["a"], "x"), [(x509.BasicConstraints(False, None), True)]), "a"),
            ROOT,
            "cA must be",
        ),
        (client(authority("a", ROOT, SIGNS_NOTHING), "a"), ROOT, "does not allow it to sign"),
        (client(authority("a", ROOT, DNS_NAMES), "a", extra=[OTHER_NAME]), ROOT, "name constraints"),
        (client(authority("a", ROOT, BY_DIRECTORY), "a"), ROOT, "name constraints"),
        (client(authority("a", ROOT, SERVER_AUTH), "a"), ROOT, "extended key usage"),
        (client(authority("a", ROOT, UNKNOWN), "a"), ROOT, "critical"),
        (client(authority("a", ROOT, days=-0.5), "a"), ROOT, "not valid at"),
        (client(ROOT, "a", days=-0.5), ROOT, "not valid at"),
        (client(ROOT, "a", begin=1), ROOT, "not valid at"),
        (client(ROOT, "a", extra=[SERVER_AUTH]), ROOT, "extended key usage"),
        (client(ROOT, "a", extra=[(usage(key_encipherment=True), True)]), ROOT, "key usage"),
        (client(ROOT, "a", extra=[UNKNOWN]), ROOT, "critical"),
        (sign(ROOT, subject(["a"], "x"), []), ROOT, "authorityKeyIdentifier|2.5.29.35"),
        (client(authority("a"), "a", identifier=ROOT.identifier), ROOT, "not issued by"),
        (client(authority("a", authority("b"), identifier=ROOT.identifier), "a"), ROOT, "not issued by"),
        (client(ED25519, "a", days=-0.5), ED25519, "not valid at"),
        (client(ED25519, "a", extra=[SERVER_AUTH]), ED25519, "extended key usage"),
        (client(ED25519, "a", extra=[UNKNOWN]), ED25519, "critical"),
        (sign(ED25519, subject(["a"], "x"), []), ED25519, "Authority Key Identifier"),
        (client(authority("a", key=ed25519.Ed25519PrivateKey.generate()), "a"), ED25519, "not issued by"),
        (client(authority("a", ED25519), "a"), ED25519, "not issued by"),
    ],
)
def test_no_chain_is_believed_that_breaks_a_rule(leaf: Issued, root: Issued, why: str):
    refused(leaf.chain, root.pem, why)


def test_name_constraints_let_through_what_they_permit():
    accepted(client(authority("a", ROOT, DNS_NAMES), "a", extra=[ITS_NAME]).chain, ROOT.pem)


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (authority("a", identifier=None), "Subject Key Identifier"),
        (sign(None, subject(["a"], "x"), [(x509.SubjectKeyIdentifier(b"1"), False)]), "CA:TRUE"),
        (authority("a", None, SIGNS_NOTHING), "does not allow it to sign"),
        (authority("a", None, BY_DIRECTORY), "name constraints"),
        (authority("a", None, DNS_NAMES, key=ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
        (authority("a", key=rsa.generate_private_key(65537, 1024)), "RSA of 1024 bits"),
        (authority("a", key=ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    ],
)
def test_what_cannot_vouch_is_refused_at_load(root: Issued, why: str):
    with pytest.raises(ValueError, match=f"(?s)^a/ca.crt .*{why}"):
        authorities.read({"a/ca.crt": root.pem})


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (ROOT, authority("b", key=ROOT.key), "the same key"),
        (ROOT, authority("b", identifier=ROOT.identifier), "the same Subject Key Identifier"),
        (ROOT, authority("b", ROOT), "is issued by one of"),
        (authority("b", ROOT), ROOT, "is issued by one of"),
    ],
)
def test_authorities_of_two_organizations_stay_apart(one: Issued, other: Issued, why: str):
    with pytest.raises(ValueError, match=why):
        trust(a=one.pem, b=other.pem)
    # Of one organization they may be what they like.
    trust(a=one.pem + other.pem)


def test_a_verified_certificate_is_believed_for_a_minute_and_not_past_its_end():
    root = authority("a")
    leaf = client(root, "a", days=1)
    known = trust(a=root.pem)
    end = leaf.certificate.not_valid_after_utc
    known.verify((leaf.chain,), "a", end - timedelta(seconds=30))
    with pytest.raises(PermissionDeniedError, match="not valid at"):
        known.verify((leaf.chain,), "a", end + timedelta(seconds=1))


def circle(count: int) -> list[Issued]:
    """Authorities that vouch for each other: ways through them are as many as one likes."""
    ends = [authority("b"), sign(None, subject(["b"], "other"), [(x509.BasicConstraints(True, None), True)])]
    around = [
        sign(issuer, other.certificate.subject, [(x509.BasicConstraints(True, None), True)], key=new_key())
        for _ in range(count)
        for issuer, other in (ends, reversed(ends))
    ]
    copies = [sign(end, end.certificate.subject, [(x509.BasicConstraints(True, None), True)]) for end in ends]
    return [*ends, *copies, *around]


def test_a_search_for_a_chain_has_one_way_to_go_whatever_is_presented():
    tried = chains.one_of_each_name([each.certificate for each in circle(3)])
    assert len(tried) == len({certificate.subject for certificate in tried}) == 2
    assert all(certificate.issuer != certificate.subject for certificate in tried)


def test_who_was_refused_is_not_looked_at_again_at_once(monkeypatch: pytest.MonkeyPatch):
    root, stranger = authority("a"), circle(2)
    presented = client(stranger[0], "a").pem + b"".join(each.pem for each in stranger)
    searches = []

    def counted(*arguments: Any) -> chains.Chain:
        searches.append(arguments)
        return chains.verify(*arguments)

    monkeypatch.setattr(identity, "verify", counted)
    trusted, now = trust(a=root.pem), datetime.now(UTC)
    for seconds in (0, 1, 59):
        with pytest.raises(PermissionDeniedError, match="not issued by an authority of organization 'a'"):
            trusted.verify((presented,), "a", now + timedelta(seconds=seconds))
    assert len(searches) == 1
    with pytest.raises(PermissionDeniedError):
        trusted.verify((presented,), "a", now + timedelta(seconds=61))
    assert len(searches) == 2
