"""TLS of an asset store: files that are read again at each new connection, and what a peer showed on one."""

import ssl
from pathlib import Path
from typing import Any

from orchestrator.core.identity import Presented, Trust
from orchestrator.files.watched import Watched


class RenewedContext(ssl.SSLContext):
    """A server's context that serves each new connection with what the files say then.

    The certificate and its key are renewed by whoever issues them, the authorities when an organization comes or goes;
    a connection that stands keeps what it began with, and its peer is verified at each request.

    Made by `renewed_context`, since a context takes no arguments of ours.
    """

    current: Watched[ssl.SSLContext]

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio calls it for each."""
        return self.current.look().wrap_bio(*arguments, **keywords)


def renewed_context(certificate: Path, key: Path, trust: Watched[Trust]) -> RenewedContext:
    """Return the context of a server that asks its peers for certificates.

    Args:
        certificate: PEM file with the server's certificate chain.
        key: PEM file with its private key.
        trust: who may vouch for whom; it is looked at too.

    Raises:
        OSError: a file cannot be read, or the certificate and the key do not belong together.
        ValueError: the key is encrypted.
    """

    def read() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=_refuse)
        context.verify_mode = ssl.CERT_REQUIRED
        # An organization may name an intermediate of its own as its authority. Who speaks for whom is not said here.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        pems = b"".join(each.pem for each in trust.look().organizations.values())
        context.load_verify_locations(cadata=pems.decode("ascii"))
        # A session that is taken up again would not show the intermediates.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        return context

    context = RenewedContext(ssl.PROTOCOL_TLS_SERVER)
    context.current = Watched("store_certificate", lambda: [certificate, key, *trust.files()], read)
    return context


def presented(connection: ssl.SSLObject) -> Presented:
    """Return the certificates that the peer of a connection showed, its own first."""
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain())
    # Public from Python 3.13 on only; below, the certificates are objects.
    chain = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain)


def _refuse() -> str:
    # OpenSSL would ask at the terminal.
    raise ValueError("the key of the asset store's certificate is encrypted; it must lie there without")
