"""For which organization a client's certificate speaks: the one rule of gRPC, of asset stores and of HTTP.

A certificate speaks for an organization when it bears its name (O=), and a chain of signatures leads from it to an
authority that is configured for that very organization. What certificates say about one another, as key identifiers,
proves nothing: an authority writes them as it likes. Nothing in the chain may be revoked or denied.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from orchestrator.core.authorities import Authorities, check_apart, key_of
from orchestrator.core.chains import MALFORMED, Chain, ChainError, verify
from orchestrator.core.errors import PermissionDeniedError

MEMORY = timedelta(minutes=1)
"""How long a certificate that was verified is believed without looking again."""

_REMEMBERED = 1024
_MOST_PRESENTED = 16

Presented = tuple[bytes, ...]
"""What a client showed: PEM or DER, its own certificate first, then its intermediates."""


@dataclass(frozen=True)
class Denied:
    """What is not accepted any more, whoever issued it.

    Args:
        serials: organization -> serial numbers of certificates.
        authorities: SHA-256 of certificates of authorities, or of their public keys, which denies each certificate that
            bears the key.
    """

    serials: Mapping[str, frozenset[int]] = field(default_factory=dict)
    authorities: frozenset[bytes] = frozenset()


class Trust:
    """Who may vouch for whom, at one time: never changed, only replaced.

    Args:
        organizations: whose authorities are whose.
        denied: what is not accepted all the same.

    Raises:
        ValueError: an authority of one organization could vouch for another.
    """

    def __init__(self, organizations: Mapping[str, Authorities], denied: Denied | None = None) -> None:
        check_apart(organizations)
        self.organizations = organizations
        self.denied = denied or Denied()
        self._lock = threading.Lock()
        # When the first certificate ends, or why they are refused; and since when that is known.
        self._known: dict[tuple[Presented, str], tuple[datetime, datetime | str]] = {}

    def verify(self, presented: Presented, organization: str, at: datetime) -> datetime:
        """Check that a client may act for an organization; return when the first of its certificates ends.

        Args:
            presented: its certificates.
            organization: for which it speaks.
            at: now; what was verified a short while before is not looked at again.

        Raises:
            PermissionDeniedError: it may not.
        """
        since, found = self._known.get((presented, organization), (at, at))
        if not since <= at < since + MEMORY or (isinstance(found, datetime) and found <= at):
            try:
                found = self._verify(presented, organization, at)
            except PermissionDeniedError as error:
                # Remembered too: who asks again and again is not looked at again and again.
                found = str(error).removeprefix(f"{error.code}: ")
            with self._lock:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[presented, organization] = at, found
        if isinstance(found, str):
            raise PermissionDeniedError(found)
        return found

    def _verify(self, presented: Presented, organization: str, at: datetime) -> datetime:
        leaf, *intermediates = _read(presented)
        if organization not in _names(leaf):
            raise PermissionDeniedError(f"the client certificate does not belong to organization {organization!r}")
        return min(each.not_valid_after_utc for each in self._chain(leaf, intermediates, organization, at))

    def organizations_of(self, presented: Presented, at: datetime) -> frozenset[str]:
        """Return all organizations that a client may act for; see `verify`.

        Raises:
            PermissionDeniedError: there is none; the message says why.
        """
        verified, reasons = set(), ["its Subject has no O="]
        for organization in sorted(_names(_read(presented)[0])):
            try:
                self.verify(presented, organization, at)
            except PermissionDeniedError as error:
                reasons.append(str(error).removeprefix(f"{error.code}: "))
            else:
                verified.add(organization)
        if not verified:
            raise PermissionDeniedError(f"the client certificate speaks for no known organization: {reasons[-1]}")
        return frozenset(verified)

    def _chain(
        self, leaf: x509.Certificate, intermediates: Chain, organization: str, at: datetime
    ) -> tuple[x509.Certificate, ...]:
        authorities = self.organizations.get(organization, Authorities(()))
        trusted = [authority for authority in authorities.certificates if not self._denies(authority)]
        try:
            chain = tuple(verify(leaf, [each for each in intermediates if not self._denies(each)], trusted, at))
        except ChainError as error:
            raise PermissionDeniedError(
                f"the client certificate was not issued by an authority of organization {organization!r}: {error}"
            ) from error
        serials = self.denied.serials.get(organization, frozenset())
        if authorities.revoked(chain) or any(each.serial_number in serials for each in chain):
            raise PermissionDeniedError(f"the client certificate of organization {organization!r} was revoked")
        return chain

    def _denies(self, authority: x509.Certificate) -> bool:
        if not self.denied.authorities:
            return False
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key_of(authority))
        return bool(self.denied.authorities & {authority.fingerprint(hashes.SHA256()), digest.finalize()})


@lru_cache(maxsize=_REMEMBERED)
def _read(presented: Presented) -> tuple[x509.Certificate, ...]:
    """Return certificates, each once, in their order.

    Raises:
        PermissionDeniedError: there is none, one cannot be read, or there are too many.
    """
    found: list[x509.Certificate] = []
    try:
        for content in presented:
            if content.lstrip().startswith(b"-----BEGIN"):
                found += x509.load_pem_x509_certificates(content)
            else:
                found.append(x509.load_der_x509_certificate(content))
        for certificate in found:
            # Parsed when they are asked for.
            _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    except MALFORMED as error:
        raise PermissionDeniedError(f"the client certificate cannot be read: {error}") from error
    unique = tuple(dict.fromkeys(found))
    if not 0 < len(unique) <= _MOST_PRESENTED:
        raise PermissionDeniedError(f"1 to {_MOST_PRESENTED} client certificates are needed, {len(unique)} given")
    return unique


def _names(leaf: x509.Certificate) -> frozenset[str]:
    return frozenset(str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
