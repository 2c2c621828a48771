"""Brings one asset into a local file: from the own store, or from a peer's over HTTPS with mutual TLS."""

import hashlib
import hmac
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import tenacity

from orchestrator import protos as pb
from workers.errors import ChecksumFault, InternalFault
from workers.settings import WorkerSettings
from workers.store import AssetStore, own_name, shareable

_CHUNK = 1024 * 1024


class _TemporaryFault(InternalFault):
    """The peer may answer if asked again."""


class Fetcher:
    """Fetches assets for one attempt or build.

    Args:
        settings: who we are and whom we trust.
        store: the own store.
        attempts: how often a peer is asked before giving up.
    """

    def __init__(self, settings: WorkerSettings, store: AssetStore, attempts: int = 5) -> None:
        self._settings = settings
        self._store = store
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TemporaryFault),
            wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )

    def fetch(self, address: pb.Addressable, target: Path, what: str, size_limit: int) -> None:
        """Write an asset to a file, and check that it is the registered one.

        Args:
            address: its URL and SHA-256.
            target: the file; its folder must exist. It is absent after an error.
            what: the asset for people, as in `the model 1f0c…`.
            size_limit: bytes.

        Raises:
            ChecksumFault: its checksum is another.
            InternalFault: it cannot be had, or is too large.
        """
        try:
            checksum = self._retrying(self._fetch, address.storage_address, target, what, size_limit)
            if not hmac.compare_digest(checksum, address.checksum.lower()):
                raise ChecksumFault(
                    f"{what} from {address.storage_address} has the checksum {checksum}, "
                    f"but {address.checksum} is registered; its owner must put the registered file back"
                )
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _fetch(self, address: str, target: Path, what: str, size_limit: int) -> str:
        digest = hashlib.sha256()
        size = 0
        with self._chunks(address, what) as chunks, target.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > size_limit:
                    raise InternalFault(f"{what} at {address} is larger than {size_limit} bytes")
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    @contextmanager
    def _chunks(self, address: str, what: str) -> Iterator[Iterator[bytes]]:
        name = own_name(self._settings.store_url, address)
        if name is None:
            with self._download(address, what) as chunks:
                yield chunks
            return
        if not shareable(name):
            raise InternalFault(f"{what} has the address {address}, which is no address of an asset")
        try:
            file, _ = self._store.open(name)
        except FileNotFoundError as error:
            raise InternalFault(f"{what} is missing from the own asset store: {name}") from error
        with file:
            yield iter(lambda: file.read(_CHUNK), b"")

    @contextmanager
    def _download(self, address: str, what: str) -> Iterator[Iterator[bytes]]:
        if not address.startswith("https://"):
            raise InternalFault(f"{what} has the address {address!r}, which is no https URL")
        try:
            # No proxy or other setting of the environment may lead our certificate elsewhere.
            with (
                httpx.Client(verify=self._tls(), trust_env=False, timeout=30.0) as peer,
                peer.stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    self._refused(answer, address, what)
                yield answer.iter_raw(_CHUNK)
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _TemporaryFault(f"{what} could not be fetched from {address}: {error}") from error
        except httpx.InvalidURL as error:
            raise InternalFault(f"{what} has the address {address!r}, which is no URL: {error}") from error

    @staticmethod
    def _refused(answer: httpx.Response, address: str, what: str) -> None:
        reason = answer.read()[:500].decode(errors="replace")
        fault = _TemporaryFault if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InternalFault
        raise fault(f"{what} could not be fetched: {address} answered {answer.status_code} {reason}")

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        if settings.peer_ca_cert is None or settings.client_cert is None or settings.client_key is None:
            raise InternalFault(
                "assets of peers need ORCHESTRATOR_PEER_CA_CERT, ORCHESTRATOR_CLIENT_CERT and "
                "ORCHESTRATOR_CLIENT_KEY, and this worker has been started without them"
            )
        context = ssl.create_default_context(cafile=settings.peer_ca_cert)
        context.load_cert_chain(settings.client_cert, settings.client_key)
        return context
