"""Certificates of every kind, honest and forged, for the tests of identity."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from orchestrator.client import Certificates

NOW = datetime.now(UTC)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def usage(**allowed: bool) -> x509.KeyUsage:
    """A key usage that allows what is named and nothing else."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def subject(organizations: Iterable[str], common_name: str) -> x509.Name:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass
class Issued:
    """A certificate, its key, and who issued it; None for a root."""

    certificate: x509.Certificate
    key: Any
    issuer: "Issued | None"

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """What a client shows: all but the root."""
        return self.pem + (self.issuer.chain if self.issuer and self.issuer.issuer else b"")

    @property
    def private(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:x}"

    @property
    def identifier(self) -> bytes:
        """Its Subject Key Identifier."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def save(self, folder: Path, name: str, authority: Path) -> Certificates:
        """Write it as a client uses it; `authority` is whom that client trusts."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.chain)
        key.write_bytes(self.private)
        return Certificates(authority, certificate, key)


def sign(
    issuer: Issued | None,
    name: x509.Name,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    key: Any = None,
    days: float = 30.0,
    begin: float = -1.0,
    serial: int | None = None,
) -> Issued:
    """Return a certificate with these extensions and no other, signed by itself without an issuer."""
    key = key or new_key()
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=begin))
        .not_valid_after(NOW + timedelta(days=days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    # Ed25519 hashes by itself.
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, algorithm), key, issuer)


def authority(
    organization: str,
    issuer: Issued | None = None,
    *extra: tuple[x509.ExtensionType, bool],
    identifier: bytes | bool | None = True,
    path_length: int | None = None,
    key: Any = None,
    days: float = 30.0,
) -> Issued:
    """Return an authority, an organization's own root or issued by another.

    Args:
        identifier: its Subject Key Identifier; True for an honest one, None for none.
    """
    key = key or new_key()
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(True, path_length), True), *extra]
    if identifier is True:
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    elif isinstance(identifier, bytes):
        extensions.append((x509.SubjectKeyIdentifier(identifier), False))
    return sign(
        issuer, subject([organization], "intermediate" if issuer else "authority"), extensions, key=key, days=days
    )


def client(
    issuer: Issued,
    *organizations: str,
    identifier: bytes | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    key: Any = None,
    days: float = 30.0,
    begin: float = -1.0,
    serial: int | None = None,
) -> Issued:
    """Return a client's certificate.

    Args:
        identifier: its Authority Key Identifier; that of its issuer's key by default.
        serial: its serial number; a random one by default.
    """
    aki = (
        x509.AuthorityKeyIdentifier(identifier, None, None)
        if identifier is not None
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    )
    name, extensions = subject(organizations, "client"), [(aki, False), *extra]
    return sign(issuer, name, extensions, key=key, days=days, begin=begin, serial=serial)


def revocation_list(issuer: Issued, *revoked: Issued, days: float = 7.0) -> bytes:
    """Return an authority's list of what it has revoked, PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(days=30))
        .next_update(NOW + timedelta(days=days))
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    algorithm = None if isinstance(issuer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer.key, algorithm).public_bytes(Encoding.PEM)
