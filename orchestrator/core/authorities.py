"""An organization's certificate authorities, and what they have revoked (RFC 5280, section 5)."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.core.chains import MALFORMED, check_authority, issued

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_CERTIFICATE = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_DER = b"\x30"
_APART = "either could act for the other: each organization needs authorities of its own"


@dataclass(frozen=True)
class Revocations:
    """A certificate revocation list.

    Args:
        crl: the list itself.
        serials: of the certificates that it revokes.
        verified: whether one of the organization's own authorities signed it; else it counts where the chain of a
            client holds an intermediate that did.
    """

    crl: x509.CertificateRevocationList
    serials: frozenset[int]
    verified: bool

    def revokes(self, certificate: x509.Certificate, issuer: x509.Certificate | None) -> bool:
        """Tell whether a certificate is revoked.

        Args:
            certificate: any.
            issuer: who issued it, where the chain holds it.
        """
        if certificate.issuer != self.crl.issuer or certificate.serial_number not in self.serials:
            return False
        return self.verified or (issuer is not None and _signed(self.crl, issuer))


@dataclass(frozen=True)
class Authorities:
    """Who may vouch for one organization.

    Args:
        certificates: of its authorities.
        revocations: their lists.
    """

    certificates: tuple[x509.Certificate, ...]
    revocations: tuple[Revocations, ...] = ()

    @property
    def pem(self) -> bytes:
        """The certificates as TLS libraries read them."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)

    @property
    def next_update(self) -> datetime | None:
        """When the first of the lists should have been replaced; None where none says so."""
        moments = (each.crl.next_update_utc for each in self.revocations)
        return min((moment for moment in moments if moment is not None), default=None)

    def revoked(self, chain: tuple[x509.Certificate, ...]) -> bool:
        """Tell whether any certificate of a chain is revoked, its last one included."""
        issuers = (*chain[1:], None)
        return any(
            revocations.revokes(certificate, issuer)
            for certificate, issuer in zip(chain, issuers, strict=True)
            for revocations in self.revocations
        )


def read(files: Mapping[str, bytes]) -> Authorities:
    """Return the authorities of an organization.

    Args:
        files: name -> content: PEM with any number of CA certificates and revocation lists, or DER with one of either.

    Raises:
        ValueError: a file holds neither, or what cannot be used; the message names it.
    """
    certificates: list[x509.Certificate] = []
    crls: list[tuple[str, x509.CertificateRevocationList]] = []
    for name, content in files.items():
        try:
            found, lists = _parse(content)
            for certificate in found:
                check_authority(certificate)
        except MALFORMED as error:
            raise ValueError(f"{name} holds what cannot be an authority of an organization: {error}") from error
        certificates += found
        crls += [(name, crl) for crl in lists]
    unique = tuple(dict.fromkeys(certificates))
    revocations = []
    for name, crl in crls:
        try:
            revocations.append(_revocations(crl, unique))
        except MALFORMED as error:
            raise ValueError(f"{name} holds a revocation list that cannot be used: {error}") from error
    return Authorities(unique, tuple(revocations))


def check_apart(organizations: Mapping[str, Authorities]) -> None:
    """Check that no authority of an organization can vouch for another.

    Raises:
        ValueError: two have the same key or key identifier, or one is issued by another organization's.
    """
    bearers: dict[tuple[str, bytes], str] = {}
    issuers: dict[x509.Name, list[tuple[str, x509.Certificate]]] = {}
    for organization, certificate in _each(organizations):
        for mark in (("key", key_of(certificate)), ("Subject Key Identifier", _key_identifier(certificate))):
            other = bearers.setdefault(mark, organization)
            if other != organization:
                raise ValueError(f"authorities of {other} and {organization} have the same {mark[0]}; {_APART}")
        issuers.setdefault(certificate.subject, []).append((organization, certificate))
    for organization, certificate in _each(organizations):
        for other, issuer in issuers.get(certificate.issuer, ()):
            if other != organization and issued(issuer, certificate):
                raise ValueError(f"an authority of {organization} is issued by one of {other}; {_APART}")


def keep_apart(
    before: Mapping[str, Authorities], wanted: Mapping[str, Authorities]
) -> tuple[dict[str, Authorities], list[str]]:
    """Return what holds when authorities change, and what is wrong with the rest, for people.

    An organization whose new authorities collide with another's keeps those that it had, so that nobody's files hold up
    what others add, remove or revoke; its own revocations are taken too.

    Args:
        before: what held, and was apart.
        wanted: what is to hold.
    """
    # Whatever it raises: what one organization put there must not hold up the others. It is told below.
    with suppress(Exception):
        check_apart(wanted)
        return dict(wanted), []
    held = {
        organization: replace(before[organization], revocations=authorities.revocations)
        for organization, authorities in wanted.items()
        if organization in before
    }
    faults: dict[str, str] = {}
    waiting = [name for name, each in wanted.items() if name not in held or held[name] != each]
    while waiting:
        faults = {}
        for organization in waiting:
            changed = {**held, organization: wanted[organization]}
            try:
                check_apart(changed)
            except Exception as error:
                faults[organization] = f"{organization} keeps the authorities that it had: {error}"
            else:
                held = changed
        if len(faults) == len(waiting):
            break
        # What one of them gave up may be what another waited for.
        waiting = list(faults)
    return held, list(faults.values())


def _each(organizations: Mapping[str, Authorities]) -> Iterator[tuple[str, x509.Certificate]]:
    for organization, authorities in organizations.items():
        for certificate in authorities.certificates:
            yield organization, certificate


def _key_identifier(authority: x509.Certificate) -> bytes:
    return authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def key_of(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate, DER."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _parse(content: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    if content.startswith(_DER):
        try:
            return [x509.load_der_x509_certificate(content)], []
        except ValueError:
            return [], [x509.load_der_x509_crl(content)]
    lists = [x509.load_pem_x509_crl(block) for block in _CRL.findall(content)]
    if lists and not _CERTIFICATE.search(content):
        return [], lists
    return x509.load_pem_x509_certificates(content), lists


def _revocations(crl: x509.CertificateRevocationList, authorities: tuple[x509.Certificate, ...]) -> Revocations:
    signers = [authority for authority in authorities if authority.subject == crl.issuer]
    verified = any(_signed(crl, signer) for signer in signers)
    if signers and not verified:
        raise ValueError("it is not signed by the organization's authority that it names")
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise ValueError("it is a delta; the complete one is needed")
        if isinstance(value, x509.IssuingDistributionPoint) and value.indirect_crl:
            raise ValueError("it is an indirect one; each authority's own is needed")
    return Revocations(crl, frozenset(revoked.serial_number for revoked in crl), verified)


def _signed(crl: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(signer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False
