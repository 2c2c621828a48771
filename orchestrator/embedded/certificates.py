"""Certificate authorities and certificates of a federation: made on first use, renewed before they expire.

Each organization has an authority of its own, and so has the operator of the orchestrator: nobody can make a
certificate that speaks for another.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.client import Certificates
from orchestrator.files import whole

LOCAL_HOSTS = ("localhost", "127.0.0.1")
OPERATOR = "orchestrator"

_CLOCK_SKEW = timedelta(minutes=5)


class Authority:
    """A certificate authority: `ca.crt` and `ca.key` in a folder, made by `create_authority`.

    Args:
        organization: whose certificates it issues.
        certificate_path: PEM file with its own certificate.
        key: its private key.
    """

    def __init__(self, organization: str, certificate_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
        self.organization = organization
        self.certificate_path = certificate_path
        self._certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        self._key = key

    def issue(
        self,
        folder: Path,
        name: str,
        organization: str | None = None,
        hosts: Sequence[str] = LOCAL_HOSTS,
        days: float = 365.0,
    ) -> Certificates:
        """Return a certificate that proves who a client, and with hosts who a server, is.

        Files that exist are kept while they are this authority's, for these names, and a tenth of their time
        is left.

        Args:
            folder: for `<name>.crt` and `<name>.key`.
            name: the Common Name.
            organization: the Subject's O=; the authority's own by default.
            hosts: DNS names and IP addresses of the server; none makes it a client's certificate only.
            days: how long it is valid.

        Raises:
            ValueError: a name is empty or too long, a file holds something else.
            OSError: the folder cannot be written.
        """
        organization = organization or self.organization
        certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
        paths = Certificates(self.certificate_path, certificate_path, key_path)
        folder.mkdir(parents=True, exist_ok=True)
        key = _load_key(key_path) or _create_key(key_path)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(_subject(organization, name), self._certificate.subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        if hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        wanted = builder.sign(self._key, hashes.SHA256())
        present = _load_certificate(certificate_path)
        if present is None or not _serves(present, wanted, self._certificate):
            whole.write(certificate_path, wanted.public_bytes(Encoding.PEM))
        return paths


@dataclass(frozen=True)
class Layout:
    """The certificate folder of a federation; who needs which files.

    Args:
        root: the folder; made by `lay_out`.
    """

    root: Path

    @property
    def client_authorities(self) -> Path:
        """The folder for TLS_CLIENT_CA_CERT_DIR: one folder per organization, its CA certificates inside."""
        return self.root / "clients"

    @property
    def peers(self) -> Path:
        """The authorities of all organizations in one file: what asset stores and workers trust."""
        return self.root / "peers.crt"

    @property
    def server(self) -> Certificates:
        """The orchestrator's own certificate, and the operator's authority."""
        folder = self.root / "orchestrator"
        return Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")

    def client(self, organization: str) -> Certificates:
        """An organization that calls the orchestrator."""
        return self._of(organization, "client", self.server.authority)

    def peer(self, organization: str) -> Certificates:
        """An organization that downloads from the asset stores of others."""
        return self._of(organization, "client", self.peers)

    def store(self, organization: str) -> Certificates:
        """An organization's asset store that serves the others."""
        return self._of(organization, "store", self.peers)

    def _of(self, organization: str, name: str, authority: Path) -> Certificates:
        folder = self.root / "organizations" / organization
        return Certificates(authority, folder / f"{name}.crt", folder / f"{name}.key", self.peers)


def create_authority(folder: Path, organization: str, days: float = 3650.0) -> Authority:
    """Return the authority in a folder; make it if it is missing, renew it when a tenth of its time is left.

    A renewed authority keeps its key, so what it issued stays valid.

    Args:
        folder: for `ca.crt` and `ca.key`.
        organization: whose certificates it will issue.
        days: how long its own certificate is valid.

    Raises:
        ValueError: the name is empty or too long, a file holds something else.
        OSError: the folder cannot be written.
    """
    certificate_path, key_path = folder / "ca.crt", folder / "ca.key"
    folder.mkdir(parents=True, exist_ok=True)
    key = _load_key(key_path) or _create_key(key_path)
    subject = _subject(organization, "authority")
    builder = _builder(subject, subject, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    wanted = builder.sign(key, hashes.SHA256())
    present = _load_certificate(certificate_path)
    if present is None or not _serves(present, wanted, wanted):
        whole.write(certificate_path, wanted.public_bytes(Encoding.PEM))
    return Authority(organization, certificate_path, key)


def lay_out(root: Path, organizations: Sequence[str], server_hosts: Sequence[str] = LOCAL_HOSTS) -> Layout:
    """Make the authorities and certificates of a federation, or complete and renew them.

    Args:
        root: the folder; see `Layout` for what lies where.
        organizations: who takes part.
        server_hosts: DNS names and IP addresses of the orchestrator and the asset stores.

    Raises:
        ValueError: a name is no folder name, or too long; a file holds something else.
        OSError: the folder cannot be written.
    """
    for organization in organizations:
        if organization in {"", ".", ".."} or "/" in organization or "\0" in organization:
            raise ValueError(f"organization {organization!r} cannot be the name of a folder; use another name")
    layout = Layout(root)
    operator = create_authority(root / "orchestrator", OPERATOR)
    operator.issue(root / "orchestrator", "server", hosts=server_hosts)
    bundle = []
    for organization in organizations:
        folder = root / "organizations" / organization
        authority = create_authority(folder, organization)
        authority.issue(folder, "client", hosts=())
        authority.issue(folder, "store", hosts=server_hosts)
        certificate = authority.certificate_path.read_bytes()
        bundle.append(certificate)
        trusted = layout.client_authorities / organization
        trusted.mkdir(parents=True, exist_ok=True)
        whole.write(trusted / "ca.crt", certificate)
    whole.write(layout.peers, b"".join(bundle))
    return layout


def _serves(present: x509.Certificate, wanted: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the certificate that we have says what we want, is the issuer's, and will for a while be valid."""
    lifetime = present.not_valid_after_utc - present.not_valid_before_utc
    if present.not_valid_after_utc - datetime.now(UTC) <= lifetime / 10:
        return False
    if present.subject != wanted.subject or list(present.extensions) != list(wanted.extensions):
        return False
    if present.public_key() != wanted.public_key():
        return False
    try:
        present.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(organization: str, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load_certificate(path: Path) -> x509.Certificate | None:
    if not path.exists():
        return None
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} holds no certificate; remove it to have a new one made") from error


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    if not path.exists():
        return None
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds no elliptic-curve key; remove it to have a new one made")
    return key


def _create_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    whole.write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key
