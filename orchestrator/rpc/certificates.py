"""The server's certificates and the authorities of its callers, read again whenever their files change."""

import threading
from collections.abc import Iterable
from pathlib import Path

import grpc
import structlog

from orchestrator.core import identity
from orchestrator.settings import ServerSettings

log = structlog.get_logger()

_Stamp = tuple[tuple[str, int, int], ...]


class CertificateFiles:
    """What lies on disk, as it was when a client connected last.

    A connection that stands keeps what it began with; each new one looks at the files. Files that cannot be used are
    logged, and what was read before stays.

    Args:
        settings: where they lie.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp = self._look()
        self.authorities, self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._fetch,  # type: ignore[arg-type]
            require_client_authentication=self._settings.mtls_enabled,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what to use from now on, None for what was used before; gRPC asks at each new connection."""
        with self._lock:
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    return None
                self.authorities, self._configuration = self._read()
            except (OSError, ValueError) as error:
                log.error("certificates.not_reloaded", error=str(error))
                return None
            self._stamp = stamp
            log.info("certificates.reloaded")
            return self._configuration

    def _look(self) -> _Stamp:
        stats = ((str(file), file.stat()) for file in self._files())
        return tuple((name, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)

    def _files(self) -> Iterable[Path]:
        settings = self._settings
        yield from (file for file in (settings.tls_cert_path, settings.tls_key_path) if file)
        if settings.tls_client_ca_cert_dir:
            yield from sorted(file for file in settings.tls_client_ca_cert_dir.glob("*/*") if file.is_file())

    def _read(self) -> tuple[identity.Authorities, grpc.ServerCertificateConfiguration]:
        settings = self._settings
        if settings.tls_key_path is None or settings.tls_cert_path is None:
            raise ValueError("ORCHESTRATOR_TLS_CERT_PATH and ORCHESTRATOR_TLS_KEY_PATH are needed for TLS")
        certificate, key = identity.check_pair(settings.tls_cert_path.read_bytes(), settings.tls_key_path.read_bytes())
        pems = settings.authorities
        authorities = identity.read_authorities(pems)
        trusted = b"\n".join(pem for files in pems.values() for pem in files) if settings.mtls_enabled else None
        return authorities, grpc.ssl_server_certificate_configuration([(key, certificate)], trusted)
