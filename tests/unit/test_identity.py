from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import read_authorities, read_claims, verify


def certify(
    organizations: list[str],
    key: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePrivateKey | None,
    *,
    identified: bool = True,
) -> x509.Certificate:
    """Return a certificate; `issuer` names the authority in it, `identified` gives it an identifier of its own."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if identified:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if issuer is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
    return builder.sign(issuer or key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


KEY_A, KEY_A2, KEY_B, KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
AUTHORITIES = read_authorities(
    {
        "org-a": [pem(certify(["org-a"], KEY_A, KEY_A)) + pem(certify(["org-a"], KEY_A2, KEY_A2))],
        "org-b": [pem(certify(["org-b"], KEY_B, KEY_B))],
    }
)


@pytest.mark.parametrize("authority", [KEY_A, KEY_A2], ids=["first", "second"])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["pem", "der"])
def test_a_certificate_of_the_organization_by_any_of_its_authorities_is_accepted(authority, encoding):
    claims = read_claims(certify(["org-a"], KEY, authority).public_bytes(encoding))

    assert claims.organizations == {"org-a"}
    verify(claims, "org-a", AUTHORITIES)


def test_a_certificate_may_speak_for_several_organizations_but_only_for_those_whose_authority_issued_it():
    claims = read_claims(pem(certify(["org-a", "org-b"], KEY, KEY_A)))

    verify(claims, "org-a", AUTHORITIES)
    with pytest.raises(PermissionDeniedError, match=r"OE0102.*not issued by an authority of.*'org-b'"):
        verify(claims, "org-b", AUTHORITIES)


def test_another_organizations_authority_cannot_vouch():
    claims = read_claims(pem(certify(["org-a"], KEY, KEY_B)))

    with pytest.raises(PermissionDeniedError, match=r"OE0102.*not issued by an authority of.*'org-a'"):
        verify(claims, "org-a", AUTHORITIES)


@pytest.mark.parametrize("names", [["org-b"], ["org-a "], ["ORG-A"], []], ids=str)
def test_another_name_is_refused(names):
    claims = read_claims(pem(certify(names, KEY, KEY_A)))

    with pytest.raises(PermissionDeniedError, match=r"OE0102.*does not belong to organization 'org-a'"):
        verify(claims, "org-a", AUTHORITIES)


def test_an_organization_without_authorities_is_refused():
    claims = read_claims(pem(certify(["org-c"], KEY, KEY_A)))

    with pytest.raises(PermissionDeniedError, match="not issued by an authority"):
        verify(claims, "org-c", AUTHORITIES)


def test_a_certificate_that_names_no_authority_is_refused():
    claims = read_claims(pem(certify(["org-a"], KEY, None)))

    assert claims.authority is None
    with pytest.raises(PermissionDeniedError, match="not issued by an authority"):
        verify(claims, "org-a", AUTHORITIES)


def test_an_authority_without_identifier_is_refused():
    with pytest.raises(ValueError, match="Subject Key Identifier"):
        read_authorities({"org-a": [pem(certify(["org-a"], KEY_A, None, identified=False))]})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"], ids=repr)
def test_what_is_no_certificate_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        read_claims(content)
