"""TLS over HTTP: of servers, whose files are read again at each new connection, and of those who call them."""

import ssl
from pathlib import Path
from typing import Any

from orchestrator.core.identity import Trust
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


def renewed_context(
    name: str, certificate: Path, key: Path, trust: Watched[Trust] | None, *, demands: bool
) -> RenewedContext:
    """Return the context of a server; whom a peer's certificate speaks for is not said here.

    Args:
        name: of its files, in the log.
        certificate: PEM file with the server's certificate chain.
        key: PEM file with its private key.
        trust: who may vouch for whom; it is looked at too. None asks for no certificates.
        demands: whether a peer must show a certificate.

    Raises:
        OSError: a file cannot be read, or the certificate and the key do not belong together.
        ValueError: the key is encrypted.
    """

    def read() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=_refuse)
        if trust is not None:
            context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
            # An organization may name an intermediate of its own as its authority.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            pems = b"".join(each.pem for each in trust.look().organizations.values())
            context.load_verify_locations(cadata=pems.decode("ascii"))
        # A session that is taken up again would not show the intermediates.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        return context

    context = RenewedContext(ssl.PROTOCOL_TLS_SERVER)
    context.current = Watched(name, lambda: [certificate, key, *(trust.files() if trust else ())], read)
    return context


def calling_context(authorities: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what is needed to call those whom authorities vouch for, who want to know who calls.

    Unlike `ssl.create_default_context` it heeds nothing that the environment says (`SSLKEYLOGFILE`).

    Args:
        authorities: PEM file of CA certificates; nobody else is trusted.
        certificate: PEM file with our certificate chain.
        key: PEM file with its private key.

    Raises:
        OSError: a file cannot be read, is none of these, or the certificate and the key do not belong together.
        ValueError: the key is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authorities)
    context.load_cert_chain(certificate, key, password=_refuse)
    return context


def _refuse() -> str:
    # OpenSSL would ask at the terminal.
    raise ValueError("the key of the certificate is encrypted; it must lie there without")
