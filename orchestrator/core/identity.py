"""Who holds a certificate: its Subject Organizations, and the authority that vouches for them.

A certificate speaks for an organization when it bears its name (O=) and was issued by one of the authorities
configured for that very organization; the link is the Authority Key Identifier (RFC 5280, 4.2.1.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID, NameOID

from orchestrator.core.errors import PermissionDeniedError

Authorities = Mapping[str, frozenset[bytes]]
"""Organization -> key identifiers of the authorities that may vouch for it."""


@dataclass(frozen=True)
class Claims:
    """What a certificate says.

    Args:
        organizations: the Subject's O= values.
        authority: the Authority Key Identifier, None where the certificate has none.
    """

    organizations: frozenset[str]
    authority: bytes | None


@lru_cache(maxsize=1024)
def read_claims(certificate: bytes) -> Claims:
    """Return the claims of a certificate.

    Args:
        certificate: PEM or DER.

    Raises:
        ValueError: it is neither.
    """
    if certificate.lstrip().startswith(b"-----BEGIN"):
        parsed = x509.load_pem_x509_certificate(certificate)
    else:
        parsed = x509.load_der_x509_certificate(certificate)
    names = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        extension = parsed.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    except x509.ExtensionNotFound:
        authority = None
    else:
        assert isinstance(extension.value, x509.AuthorityKeyIdentifier)  # noqa: S101 - narrows the type
        authority = extension.value.key_identifier
    return Claims(frozenset(str(name.value) for name in names), authority)


def read_authorities(certificates: Mapping[str, Iterable[bytes]]) -> Authorities:
    """Return the key identifiers of each organization's authorities.

    Args:
        certificates: organization -> PEM files, each with one or more CA certificates.

    Raises:
        ValueError: a file holds no certificate, or one without a Subject Key Identifier.
    """
    return {
        organization: frozenset(
            _key_identifier(authority) for pem in pems for authority in x509.load_pem_x509_certificates(pem)
        )
        for organization, pems in certificates.items()
    }


def verify(claims: Claims, organization: str, authorities: Authorities) -> None:
    """Check that a certificate may act for an organization.

    Raises:
        PermissionDeniedError: it bears another name, or another organization's authority issued it.
    """
    if organization not in claims.organizations:
        raise PermissionDeniedError(f"the client certificate does not belong to organization {organization!r}")
    if claims.authority is None or claims.authority not in authorities.get(organization, frozenset()):
        raise PermissionDeniedError(
            f"the client certificate was not issued by an authority of organization {organization!r}"
        )


def check_pair(certificate: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Return a certificate chain and its key, both PEM, after checking that they belong together.

    Raises:
        ValueError: one cannot be read, or the key is another certificate's: half of a renewal, perhaps.
    """
    leaf = x509.load_pem_x509_certificates(certificate)[0]
    if serialization.load_pem_private_key(key, None).public_key() != leaf.public_key():
        raise ValueError("the server's certificate and its key do not belong together")
    return certificate, key


def _key_identifier(authority: x509.Certificate) -> bytes:
    try:
        extension = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as error:
        raise ValueError("a certificate authority has no Subject Key Identifier") from error
    return extension.value.digest
