"""The chain of a client certificate: verified, signature by signature, up to an authority (RFC 5280, section 6).

`cryptography` builds and verifies it. Its own policies are those of the web, and refuse what private networks use: a
client certificate without a Subject Alternative Name, an authority without key usage. Ours takes them, and keeps the
rest: signatures, validity, authorities that say so, path length, usages where they are named, name constraints, no
critical extension that nobody understands.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

Extension = TypeVar("Extension", bound=x509.ExtensionType)

Chain = Sequence[x509.Certificate]
"""Certificates, each issued by the next; the last one is an authority's."""

MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises, early or late, where a certificate is not what it should be."""

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RSA_BITS = 2048
_DEEPEST = 5


class ChainError(Exception):
    """No chain can be built; the message says why."""


def verify(leaf: x509.Certificate, intermediates: Chain, authorities: Chain, at: datetime) -> Chain:
    """Return the chain from a client's certificate to one of the authorities.

    Args:
        leaf: the client's certificate.
        intermediates: what it presented besides, in any order; none of them is trusted.
        authorities: who may vouch for it, all checked by `check_authority`.
        at: the moment for which everything must be valid.

    Raises:
        ChainError: there is none.
    """
    for authority in authorities:
        if _is_ed25519(authority) and issued(authority, leaf):
            _check_pair(leaf, authority, at)
            return [leaf, authority]
    others = [authority for authority in authorities if not _is_ed25519(authority)]
    if not others:
        raise ChainError("none of its authorities did")
    builder = PolicyBuilder().store(Store(others)).time(at).max_chain_depth(_DEEPEST)
    verifier = builder.extension_policies(ca_policy=_ISSUERS, ee_policy=_LEAVES).build_client_verifier()
    try:
        return verifier.verify(leaf, one_of_each_name(intermediates)).chain
    except (VerificationError, *MALFORMED) as error:
        # What follows there is for those who know the certificate.
        reason = str(error).partition(" (encountered processing")[0]
        raise ChainError(reason.removeprefix("validation failed: ").removeprefix("candidates exhausted: ")) from error


def one_of_each_name(intermediates: Chain) -> list[x509.Certificate]:
    """Return what a search for a chain may use: of two with one name the first, and none that names itself.

    The verifier tries whatever bears the issuer's name: several of one name would have it try ever longer ways, one
    after the other, on the time of everybody else.
    """
    named: dict[x509.Name, x509.Certificate] = {}
    for certificate in intermediates:
        if certificate.issuer != certificate.subject:
            named.setdefault(certificate.subject, certificate)
    return list(named.values())


def check_authority(certificate: x509.Certificate) -> None:
    """Check that a certificate can be an organization's authority.

    Raises:
        ValueError: it cannot; the message says why.
    """
    key = certificate.public_key()
    known = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS)
        or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES))
    )
    if not known:
        raise ValueError(
            f"its key is {name_of_key(key)}; an authority needs RSA of {_RSA_BITS} bits or more, P-256, P-384, P-521 "
            "or Ed25519"
        )
    if find(certificate, x509.SubjectKeyIdentifier) is None:
        raise ValueError("it has no Subject Key Identifier")
    constraints = find(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ValueError("it is no certificate authority: its basic constraints do not say CA:TRUE")
    _check_issuer(certificate)
    if find(certificate, x509.NameConstraints) is not None and isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError("its name constraints cannot be checked, since its key is Ed25519")


def find(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Return an extension of a certificate, None where there is none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def name_of_key(key: object) -> str:
    """Return what people call the kind of a key, as in `RSA of 2048 bits`, `P-521`, `Ed25519`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return re.sub(r"^secp(\d+)r1$", r"P-\1", key.curve.name)
    return type(key).__name__.removesuffix("PublicKey")


def _is_ed25519(certificate: x509.Certificate) -> bool:
    """Tell whether a chain to an authority is one that `cryptography` does not verify."""
    return isinstance(certificate.public_key(), ed25519.Ed25519PublicKey)


def issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Tell whether an authority issued a certificate, by names and signature."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (*MALFORMED, InvalidSignature):
        return False
    return True


def _check_pair(leaf: x509.Certificate, authority: x509.Certificate, at: datetime) -> None:
    """Check a chain without intermediates, in which path length and name constraints have no say."""
    for certificate in (leaf, authority):
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise ChainError("cert is not valid at validation time")
        for extension in certificate.extensions:
            if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
                raise ChainError(f"nobody here understands its critical extension {extension.oid.dotted_string}")
    try:
        _check_issuer(authority)
        _check_leaf(leaf)
    except ValueError as error:
        raise ChainError(str(error)) from error


def _check_issuer(certificate: x509.Certificate) -> None:
    usage = find(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key usage of an authority does not allow it to sign certificates")
    _check_purpose(certificate)
    names = find(certificate, x509.NameConstraints)
    for name in (*(names.permitted_subtrees or ()), *(names.excluded_subtrees or ())) if names else ():
        # The verifier passes over others where they are not critical.
        if not isinstance(name, x509.DNSName | x509.IPAddress):
            raise ValueError("the name constraints of an authority can be checked for DNS names and IP addresses only")


def _check_leaf(certificate: x509.Certificate) -> None:
    if find(certificate, x509.AuthorityKeyIdentifier) is None:
        raise ValueError("it has no Authority Key Identifier")
    usage = find(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.key_agreement):
        raise ValueError("the key usage of the client's certificate does not allow it to prove who it is")
    _check_purpose(certificate)


def _check_purpose(certificate: x509.Certificate) -> None:
    usage = find(certificate, x509.ExtendedKeyUsage)
    if usage is not None and not {*usage} & _CLIENTS:
        raise ValueError("an extended key usage does not allow to prove a client")


_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
)
_ISSUERS = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, lambda _, certificate, __: _check_issuer(certificate)
)
_LEAVES = ExtensionPolicy.permit_all().require_present(
    x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, lambda _, certificate, __: _check_leaf(certificate)
)
