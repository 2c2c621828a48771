"""Certificates with which one organization tries to act for another, or past the limits of its own authority.

org-1 is the victim, org-2 the attacker with an authority of its own that no path length limits. org-3 has an authority
with limits.
"""

from dataclasses import dataclass

from cryptography import x509

from tests.kit.issuing import Issued, authority, client

A, B = authority("org-1"), authority("org-2")
LIMITED = authority("org-3", None, (x509.NameConstraints([x509.DNSName("org-3.example")], None), True), path_length=0)


@dataclass(frozen=True)
class Forged:
    """What somebody shows who may not act for an organization.

    Args:
        leaf: the client's certificate, with its key.
        why: what the refusal says behind the TLS handshake, a pattern.
        organization: for which it would act.
        beside: what it shows besides, PEM.
    """

    leaf: Issued
    why: str
    organization: str = "org-1"
    beside: bytes = b""

    @property
    def chain(self) -> bytes:
        """All that it shows, PEM."""
        return self.leaf.chain + self.beside


def between(issuer: Issued, identifier: bytes | None) -> Issued:
    """An intermediate with a Subject Key Identifier of the attacker's choice."""
    return authority("org-1", issuer, identifier=identifier)


def naming(issuer: Issued) -> Issued:
    """A client's certificate that names the key of org-1 as its issuer's, whoever issued it."""
    return client(issuer, "org-1", identifier=A.identifier)


NO_SKI, COPIED = between(B, None), between(B, A.identifier)
LEAF = client(A, "org-1")
ELSEWHERE = x509.SubjectAlternativeName([x509.DNSName("org-1.example")])
_NOT_ISSUED = "not issued by an authority of organization 'org-1'"
OF_OTHERS = {
    "leaf by org-2": Forged(client(B, "org-1"), _NOT_ISSUED),
    "leaf by org-2 that names the key of org-1": Forged(naming(B), _NOT_ISSUED),
    "intermediate without identifier": Forged(naming(NO_SKI), _NOT_ISSUED),
    "intermediate with the identifier of org-1": Forged(naming(COPIED), _NOT_ISSUED),
    "two intermediates": Forged(naming(between(NO_SKI, A.identifier)), _NOT_ISSUED),
    "the root of org-1 in the chain": Forged(naming(COPIED), _NOT_ISSUED, beside=A.pem),
    "a leaf used as an authority": Forged(naming(LEAF), _NOT_ISSUED),
    "an authority of the attacker's own making": Forged(
        naming(authority("org-1", identifier=A.identifier)), _NOT_ISSUED
    ),
    "ended": Forged(client(A, "org-1", days=-0.01), "not valid at"),
    "not begun": Forged(client(A, "org-1", begin=1), "not valid at"),
}
PAST_LIMITS = {
    "path length": Forged(client(authority("org-3", LIMITED), "org-3"), "path length", "org-3"),
    "name constraints": Forged(client(LIMITED, "org-3", extra=[(ELSEWHERE, False)]), "name constraints", "org-3"),
}
