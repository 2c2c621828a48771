"""The server's certificate and the authorities of its callers, read again whenever their files change."""

import threading

import grpc

from orchestrator.core.identity import Trust
from orchestrator.core.key_pairs import check_server
from orchestrator.files.tls import RenewedContext, renewed_context
from orchestrator.files.trust import watch_trust
from orchestrator.files.watched import Watched
from orchestrator.settings import ServerSettings


class CertificateFiles:
    """What lies on disk, as it was when somebody looked last; each new connection looks.

    Half of a renewal of the server's own certificate does not keep a revocation from being read, nor the other way
    round.

    Args:
        settings: where they lie.

    Attributes:
        trust: who may vouch for whom; None where no client shows a certificate.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    def __init__(self, settings: ServerSettings) -> None:
        certificate, key, folder = settings.tls_cert_path, settings.tls_key_path, settings.tls_client_ca_cert_dir
        if certificate is None or key is None:
            raise ValueError("ORCHESTRATOR_TLS_CERT_PATH and ORCHESTRATOR_TLS_KEY_PATH are needed for TLS")
        self._files = certificate, key
        self._pair = Watched(
            "server_certificate",
            lambda: (certificate, key),
            lambda: check_server(certificate.read_bytes(), key.read_bytes()),
        )
        self.trust: Watched[Trust] | None = None
        if settings.mtls_enabled and folder is not None:
            self.trust = watch_trust(folder, settings.tls_deny_list)
        self._lock = threading.Lock()
        self._used = self._values()

    @property
    def server_certificate(self) -> bytes:
        """The server's own certificate chain, PEM."""
        return self._pair.value[0]

    def look(self) -> None:
        """Look at all files."""
        self._pair.look()
        if self.trust:
            self.trust.look()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(*self._used),
            self._fetch,  # type: ignore[arg-type]
            require_client_authentication=self.trust is not None,
        )

    def http_context(self, *, asks: bool) -> RenewedContext:
        """Return a context for an HTTP server that follows the files too.

        Args:
            asks: whether a client is asked for a certificate; it need not show one.
        """
        return renewed_context("api_certificate", *self._files, self.trust if asks else None, demands=False)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what to use from now on, None for what was used before; gRPC asks at each new connection."""
        with self._lock:
            self.look()
            values = self._values()
            if values == self._used:
                return None
            self._used = values
            return _configuration(*values)

    def _values(self) -> tuple[tuple[bytes, bytes], Trust | None]:
        return self._pair.value, self.trust.value if self.trust else None


def _configuration(pair: tuple[bytes, bytes], trust: Trust | None) -> grpc.ServerCertificateConfiguration:
    certificate, key = pair
    authorities = b"".join(each.pem for each in trust.organizations.values()) if trust else None
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)
