"""Connections to the asset stores of peers, kept open for a moment and made with the certificates of now."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from orchestrator.files.tls import calling_context
from orchestrator.files.watched import Watched
from orchestrator.telemetry import names, spans
from workers.errors import InternalFault
from workers.settings import WorkerSettings

_SECONDS = 30.0


class Downloads:
    """Reads files of peers, several at once; one for each process, for one attempt after another.

    What a connection begins with, our certificate and the trust in the peer's, holds for as long as it stands: a few
    seconds after the last file. The peer asks at each file who we are, and whether we may read it.

    Args:
        settings: who we are and whom we trust.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._context: Watched[ssl.SSLContext] | None = None
        self._used: ssl.SSLContext | None = None
        self._clients: list[httpx.Client] = []

    @contextmanager
    def get(self, address: str) -> Iterator[httpx.Response]:
        """Ask a peer for a file; yield its answer, to be read as a stream.

        Args:
            address: https URL.

        Raises:
            InternalFault: this worker has no certificates for peers.
            OSError: a certificate file cannot be read.
            httpx.TransportError: the peer is not there, or breaks off.
            httpx.InvalidURL: the address is none.
        """
        with self._lock:
            client = self._connected()
        headers = {"Accept-Encoding": "identity"}
        with (
            spans.calling("GET", names.request("GET", address), headers) as span,
            client.stream("GET", address, headers=headers) as answer,
        ):
            span.note(names.HTTP_STATUS, answer.status_code)
            if answer.is_error:
                span.fail(str(answer.status_code))
            yield answer

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._used = None

    def _connected(self) -> httpx.Client:
        if self._context is None:
            files = self._files()
            self._context = Watched("peer_certificate", lambda: files, self._tls)
        context = self._context.look()
        if context is not self._used:
            # A download that is under way keeps the connection that it began with.
            for old in self._clients[:-1]:
                old.close()
            del self._clients[:-1]
            self._used = context
            # Whom we trust is said by `verify`; of the environment nothing but a proxy is taken, where that is wanted.
            environment = self._settings.proxy_from_environment
            self._clients.append(
                httpx.Client(verify=context, trust_env=environment, timeout=_SECONDS, follow_redirects=False)
            )
        return self._clients[-1]

    def _files(self) -> list[Path]:
        settings = self._settings
        files = (settings.peer_ca_cert, settings.client_cert, settings.client_key)
        if not all(files):
            raise InternalFault(
                "assets of peers need ORCHESTRATOR_PEER_CA_CERT, ORCHESTRATOR_CLIENT_CERT and "
                "ORCHESTRATOR_CLIENT_KEY, and this worker has been started without them"
            )
        return [file for file in files if file is not None]

    def _tls(self) -> ssl.SSLContext:
        return calling_context(*self._files())
