"""Whose certificate speaks for whom; the chains themselves are in `core/test_chains.py`."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator.core import authorities
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.identity import Denied, Presented, Trust
from orchestrator.core.key_pairs import check_server
from tests.kit.forged import LEAF, LIMITED, OF_OTHERS, PAST_LIMITS, Forged
from tests.kit.forged import A as VICTIM
from tests.kit.forged import B as ATTACKER
from tests.kit.issuing import Issued, authority, client, new_key, revocation_list, sign, subject, usage

A, A2, B = authority("org-a"), authority("org-a"), authority("org-b")


def trust(files: dict[str, list[bytes]] | None = None, denied: Denied | None = None) -> Trust:
    files = files or {"org-a": [A.pem + A2.pem], "org-b": [B.pem]}
    read = {name: authorities.read({str(n): pem for n, pem in enumerate(pems)}) for name, pems in files.items()}
    return Trust(read, denied)


TRUST = trust()


def verify(presented: Presented, organization: str, known: Trust = TRUST) -> None:
    known.verify(presented, organization, datetime.now(UTC))


def denies(presented: Presented, organization: str, why: str, known: Trust = TRUST) -> None:
    with pytest.raises(PermissionDeniedError, match=f"OE0102.*{why}"):
        verify(presented, organization, known)


@pytest.mark.parametrize("issuer", [A, A2], ids=["first", "second"])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER], ids=["pem", "der"])
def test_a_certificate_of_the_organization_by_any_of_its_authorities_is_accepted(issuer, encoding):
    verify((client(issuer, "org-a").certificate.public_bytes(encoding),), "org-a")


def test_a_certificate_may_speak_for_several_organizations_but_only_for_those_whose_authority_issued_it():
    presented = (client(A, "org-a", "org-b").pem,)

    verify(presented, "org-a")
    denies(presented, "org-b", "not issued by an authority of.*'org-b'")
    assert TRUST.organizations_of(presented, datetime.now(UTC)) == {"org-a"}


def test_another_organizations_authority_cannot_vouch_whatever_it_writes_into_its_certificates():
    for forged in (
        client(B, "org-a"),
        client(B, "org-a", identifier=A.identifier),
        client(authority("org-a", B, identifier=None), "org-a", identifier=A.identifier),
        client(authority("org-a", B, identifier=A.identifier), "org-a", identifier=A.identifier),
    ):
        presented = (forged.pem, forged.chain)
        denies(presented, "org-a", "not issued by an authority of.*'org-a'")
        # Nor does it help to show the other's authority.
        denies((forged.chain, A.pem), "org-a", "not issued by")
        with pytest.raises(PermissionDeniedError, match="speaks for no known organization"):
            TRUST.organizations_of(presented, datetime.now(UTC))


FORGED = OF_OTHERS | PAST_LIMITS


@pytest.fixture(scope="module")
def attacked() -> Trust:
    """Of the organizations whose certificates are forged; it lets in the honest ones."""
    known = trust({"org-1": [VICTIM.pem], "org-2": [ATTACKER.pem], "org-3": [LIMITED.pem]})
    verify((LEAF.chain,), "org-1", known)
    verify((client(LIMITED, "org-3").chain,), "org-3", known)
    return known


@pytest.mark.parametrize("presented", FORGED.values(), ids=FORGED)
def test_what_is_forged_is_refused_without_a_tls_handshake_before_it(attacked: Trust, presented: Forged):
    """By itself: a handshake that refuses it first would hide that nobody else does."""
    denies((presented.chain,), presented.organization, presented.why, attacked)
    with pytest.raises(PermissionDeniedError, match="speaks for no known organization"):
        attacked.organizations_of((presented.chain,), datetime.now(UTC))


@pytest.mark.parametrize("names", [["org-b"], ["org-a "], ["ORG-A"], []], ids=str)
def test_another_name_is_refused(names):
    denies((client(A, *names).pem,), "org-a", "does not belong to organization 'org-a'")


def test_an_organization_without_authorities_is_refused():
    denies((client(A, "org-c").pem,), "org-c", "not issued by an authority")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"-----BEGIN CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_certificate_is_refused(content):
    denies((content,), "org-a", "cannot be read")
    denies((client(A, "org-a").pem, content), "org-a", "cannot be read")


def test_a_chain_without_end_is_refused():
    denies(tuple(client(A, "org-a").pem for _ in range(17)), "org-a", "17 given")
    denies((), "org-a", "0 given")


@pytest.mark.parametrize("between", [False, True], ids=["leaf", "intermediate"])
def test_what_a_list_revokes_is_refused(between):
    issuer = authority("org-a", A)
    leaf, good = client(issuer, "org-a"), client(authority("org-a", A), "org-a")
    crl = revocation_list(A, issuer) if between else revocation_list(issuer, leaf)
    known = trust({"org-a": [A.pem, crl], "org-b": [B.pem]})

    denies((leaf.chain,), "org-a", "was revoked", known)
    verify((good.chain,), "org-a", known)
    verify((leaf.chain,), "org-a")


def test_an_authority_that_another_of_the_organization_revoked_vouches_no_more():
    issuer = authority("org-a", A)
    leaf = client(issuer, "org-a")

    verify((leaf.pem,), "org-a", trust({"org-a": [A.pem, issuer.pem]}))
    denies((leaf.pem,), "org-a", "was revoked", trust({"org-a": [A.pem, issuer.pem, revocation_list(A, issuer)]}))


def test_a_list_that_is_out_of_date_still_counts_and_so_does_each_of_several():
    old, new = client(A, "org-a"), client(A, "org-a")
    known = trust({"org-a": [A.pem, revocation_list(A, old, days=-1), revocation_list(A, new)]})

    denies((old.pem,), "org-a", "was revoked", known)
    denies((new.pem,), "org-a", "was revoked", known)
    ends = known.organizations["org-a"].next_update
    assert ends is not None
    assert ends < datetime.now(UTC)


def test_a_list_counts_for_its_own_issuer_only():
    """The same serial number by another authority is another certificate; another's list says nothing."""
    leaf = client(A, "org-a")
    forged = Issued(A.certificate, new_key(), None)
    with pytest.raises(ValueError, match=r"^1 holds .*not signed by the organization's authority"):
        trust({"org-a": [A.pem, revocation_list(forged, leaf)]})
    verify((leaf.pem,), "org-a", trust({"org-a": [A.pem, revocation_list(authority("else"), leaf)]}))
    other = authority("org-a", A)
    same = client(other, "org-a", serial=leaf.certificate.serial_number)
    known = trust({"org-a": [A.pem, revocation_list(A, leaf)]})
    denies((leaf.pem,), "org-a", "was revoked", known)
    verify((same.chain,), "org-a", known)
    # Of an intermediate that no folder holds: it is checked with the chain.
    issuer = authority("org-a", A)
    leaf = client(issuer, "org-a")
    lie = Issued(issuer.certificate, new_key(), None)
    verify((leaf.chain,), "org-a", trust({"org-a": [A.pem, revocation_list(lie, leaf)]}))


def test_lists_that_are_not_whole_are_refused():
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(A.certificate.subject)
        .last_update(datetime.now(UTC))
        .next_update(datetime.now(UTC) + timedelta(days=1))
    )
    point = x509.IssuingDistributionPoint(None, None, False, False, None, True, False)
    for extension, why in ((x509.DeltaCRLIndicator(1), "delta"), (point, "indirect")):
        crl = builder.add_extension(extension, critical=True).sign(A.key, hashes.SHA256())
        with pytest.raises(ValueError, match=why):
            trust({"org-a": [A.pem, crl.public_bytes(Encoding.PEM)]})


def test_what_is_denied_is_refused():
    issuer = authority("org-a", A)
    leaf, between = client(A, "org-a"), client(issuer, "org-a")
    serial = Denied({"org-a": frozenset([leaf.certificate.serial_number])})
    denies((leaf.pem,), "org-a", "was revoked", trust(denied=serial))
    verify((between.chain,), "org-a", trust(denied=serial))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(A.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    for denied in (A.certificate.fingerprint(hashes.SHA256()), digest.finalize()):
        known = trust(denied=Denied(authorities=frozenset([denied])))
        denies((leaf.pem,), "org-a", "not issued by", known)
        verify((client(A2, "org-a").pem,), "org-a", known)
    known = trust(denied=Denied(authorities=frozenset([issuer.certificate.fingerprint(hashes.SHA256())])))
    denies((between.chain,), "org-a", "not issued by", known)
    verify((leaf.pem,), "org-a", known)


def server(key, *extra: tuple[x509.ExtensionType, bool]) -> tuple[bytes, bytes]:
    issued = sign(A, subject(["o"], "server"), extra, key=key)
    return issued.pem, issued.private


@pytest.mark.parametrize(
    "key",
    [
        new_key(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_a_server_may_have_the_keys_that_grpc_can_serve(key):
    pair = server(key)
    assert check_server(*pair) == pair


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
        (ec.generate_private_key(ec.SECP521R1()), "P-521"),
        (ec.generate_private_key(ec.SECP224R1()), "P-224"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "brainpoolP256r1"),
    ],
)
def test_a_key_that_grpc_cannot_serve_is_refused_by_name(key, name):
    with pytest.raises(ValueError, match=f"gRPC cannot serve with a key that is {name}: expected RSA, P-256 or P-384"):
        check_server(*server(key))


# Of the private key 1, made by openssl ec -param_enc explicit; nothing else makes such a one.
WRITTEN_OUT = b"""-----BEGIN CERTIFICATE-----
MIIB9DCCAZoCAQEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBbzAeFw0yNjExMjcx
NjEyMzlaFw0zNjExMjQxNjEyMzlaMAwxCjAIBgNVBAMMAW8wggFLMIIBAwYHKoZI
zj0CATCB9wIBATAsBgcqhkjOPQEBAiEA/////wAAAAEAAAAAAAAAAAAAAAD/////
//////////8wWwQg/////wAAAAEAAAAAAAAAAAAAAAD///////////////wEIFrG
NdiqOpPns+u9VXaYhrxlHQawzFOw9jvOPD4n0mBLAxUAxJ02CIbnBJNqZnjhE50m
t4GffpAEQQRrF9Hy4SxCR/i85uVjpEDydwN9gS3rM6D0oTlF2JjClk/jQuL+Gn+b
jufrSnwPnhYrzjNXazFezsu2QGg3v1H1AiEA/////wAAAAD//////////7zm+q2n
F56E87nKwvxjJVECAQEDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiY
wpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9TAKBggqhkjOPQQDAgNI
ADBFAiAj93iYiu4opsdYlh4g6t3ZKdbCnf+Tt6uYNafjIkbQxQIhAPJdpI3Andu9
KwlD0gGsadjdUgw6yb5jM8jtxFRL1UUM
-----END CERTIFICATE-----
"""


def test_a_key_whose_curve_has_no_name_is_refused():
    key = ec.derive_private_key(1, ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="curve is written out"):
        check_server(WRITTEN_OUT, private)
    assert check_server(*server(key))


def test_a_server_whose_certificate_is_for_something_else_is_refused():
    certificate, key = server(new_key())
    clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    for (one, other), why in (
        ((certificate, server(new_key())[1]), "do not belong together"),
        (server(new_key(), (clients, False)), "extended key usage"),
        (server(new_key(), (usage(key_cert_sign=True), True)), "digital signatures"),
        ((b"nothing", key), "certificate cannot be read"),
        ((certificate, b"nothing"), "key of the server's certificate cannot be read"),
    ):
        with pytest.raises(ValueError, match=why):
            check_server(one, other)
    secret = new_key()
    locked = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    with pytest.raises(ValueError, match="is encrypted"):
        check_server(server(secret)[0], locked)
