"""A certificate and its key: whether they belong together, and whether gRPC can serve with them."""

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from orchestrator.core.chains import MALFORMED, find, name_of_key

# What BoringSSL, with which gRPC speaks TLS, signs with and accepts by default.
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = 1024
_SERVERS = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def holds_certificates(content: bytes) -> bool:
    """Say whether a file is PEM, and has certificates in it."""
    try:
        return bool(x509.load_pem_x509_certificates(content))
    except MALFORMED:
        return False


def check_pair(certificate: bytes, key: bytes, whose: str) -> x509.Certificate:
    """Return the first certificate of a chain, after checking that the key is its own.

    Args:
        certificate: PEM.
        key: PEM, not encrypted.
        whose: for the message, as in `client's`.

    Raises:
        ValueError: one cannot be read, or the key is another certificate's: half of a renewal, perhaps.
    """
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        public = leaf.public_key()
    except MALFORMED as error:
        raise ValueError(f"the {whose} certificate cannot be read: {error}") from error
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError as error:
        raise ValueError(f"the key of the {whose} certificate is encrypted; it must lie there without") from error
    except MALFORMED as error:
        raise ValueError(f"the key of the {whose} certificate cannot be read: {error}") from error
    if private.public_key() != public:
        raise ValueError(f"the {whose} certificate and its key do not belong together")
    return leaf


def check_server(certificate: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Return a server's certificate chain and its key, both PEM, after checking that gRPC can serve with them.

    Raises:
        ValueError: they do not belong together, or no client would accept them; the message says why.
    """
    leaf = check_pair(certificate, key, "server's")
    _check_kind(leaf)
    usage = find(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise ValueError("the key usage of the server's certificate does not allow digital signatures")
    purposes = find(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not {*purposes} & _SERVERS:
        raise ValueError("the extended key usage of the server's certificate does not allow it to serve")
    return certificate, key


def _check_kind(leaf: x509.Certificate) -> None:
    key = leaf.public_key()
    plain = leaf.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS
    if isinstance(key, rsa.RSAPublicKey) and plain and key.key_size >= _RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        if _algorithm(key) in leaf.tbs_certificate_bytes:
            return
        raise ValueError(
            "gRPC cannot serve with a key whose curve is written out (explicit parameters): expected one that "
            "names it, as openssl makes with -param_enc named_curve"
        )
    kind = name_of_key(key) if plain else "RSASSA-PSS"
    raise ValueError(f"gRPC cannot serve with a key that is {kind}: expected RSA, P-256 or P-384")


def _algorithm(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the algorithm identifier of a key whose curve is named, in DER."""
    written = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    # A sequence of this sequence and the point; both are short.
    return written[2 : 4 + written[3]]
