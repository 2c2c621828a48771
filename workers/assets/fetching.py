"""Brings one asset into a local file: from the own store, or from a peer's over HTTPS with mutual TLS.

It is fetched from the store of its owner, under its own key, or not at all: our certificate opens files of others to us
that whoever registered the address may not read.
"""

import hashlib
import hmac
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import tenacity

from orchestrator.client.insistence import insist
from workers.assets.addresses import Asset, check_store_url
from workers.assets.downloads import Downloads
from workers.assets.kept import Kept
from workers.assets.peers import Peers
from workers.assets.store import AssetStore, url
from workers.errors import AddressFault, ChecksumFault, InternalFault, RefusedFault
from workers.settings import WorkerSettings

_CHUNK = 1024 * 1024
# Characters of an address in a message, and bytes of what a peer says.
_SHOWN = 200
_EXPLANATION = 500
_PATIENCE_SECONDS = 120.0


class _TemporaryFault(InternalFault):
    """The peer may answer if asked again."""


class _PatientFault(_TemporaryFault):
    """The peer lives and cannot answer yet: its orchestrator, or its database, is away."""


class Fetcher:
    """Fetches assets for one attempt or build.

    Args:
        settings: who we are and whom we trust.
        store: the own store.
        peers: where the other organizations say that their stores are.
        downloads: connections to peers, of this process.
        named: organization -> URL of its store, where this organization knows better.
        attempts: how often a peer that is not there is asked before giving up; one that asks for time gets two minutes.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        store: AssetStore,
        peers: Peers,
        downloads: Downloads,
        named: Mapping[str, str] | None = None,
        attempts: int = 5,
    ) -> None:
        self._settings = settings
        self._store = store
        self._peers = peers
        self._downloads = downloads
        self._kept = Kept(settings.kept_folder, settings.archive_cache_size)
        self._named = {**(named or {}), settings.organization: settings.store_url}
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TemporaryFault),
            wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
            stop=lambda state: _enough(state, attempts),
            reraise=True,
        )

    def fetch(self, asset: Asset, target: Path, size_limit: int, *, keep: bool = False) -> None:
        """Write an asset to a file, and check that it is the registered one.

        Args:
            asset: which.
            target: the file; its folder must exist. It is absent after an error.
            size_limit: bytes.
            keep: whether one that was fetched from a peer before will do, by its checksum: the orchestrator must just
                have said that this organization may have it.

        Raises:
            AddressFault: its registered address is not that of its own file in its owner's store.
            RefusedFault: its owner's store does not give it to us.
            ChecksumFault: its checksum is another.
            InternalFault: it cannot be had, or is too large.
            grpc.RpcError: the orchestrator does not say where the owner's store is.
        """
        self._check_address(asset)
        registered = asset.address
        try:
            keep = keep and asset.owner != self._settings.organization
            if keep and self._is_kept(registered.checksum.lower(), target):
                return
            checksum = self._retrying(self._fetch, asset, target, size_limit)
            if not hmac.compare_digest(checksum, registered.checksum.lower()):
                raise ChecksumFault(
                    f"{asset.what} from {registered.storage_address} has the checksum {checksum}, "
                    f"but {registered.checksum} is registered; its owner must put the registered file back"
                )
            if keep:
                self._kept.put(checksum, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _is_kept(self, checksum: str, target: Path) -> bool:
        if not self._kept.take(checksum, target):
            return False
        with target.open("rb") as file:
            good = hmac.compare_digest(hashlib.file_digest(file, "sha256").hexdigest(), checksum)
        if not good:
            # As after a power cut.
            self._kept.forget(checksum)
        return good

    def _check_address(self, asset: Asset) -> None:
        owner = asset.owner
        stated = self._named.get(owner) or insist(lambda: self._peers.address(owner))
        if not stated:
            raise AddressFault(
                f"{asset.what} belongs to {owner}, and nobody says where {owner}'s asset store is, so nothing of it is "
                f"fetched: {owner} must register the address of its asset store with `orchestrator org register "
                f"--address URL`, or {self._settings.organization} name it under `stores` in its consent policy"
            )
        try:
            store_url = check_store_url(stated)
        except ValueError as error:
            raise AddressFault(
                f"{asset.what} belongs to {owner}, whose asset store is said to be at {stated[:_SHOWN]!r}: {error}; "
                f"so nothing of it is fetched until {self._settings.organization} names another under `stores` in "
                "its consent policy"
            ) from error
        if not asset.lies_in(store_url):
            raise AddressFault(
                f"{asset.what} is registered at {asset.address.storage_address[:_SHOWN]!r}, but an asset of {owner} "
                f"is only fetched from {owner}'s own asset store and under its own key, {url(store_url, asset.name)}; "
                f"{owner} must put it there and register it anew"
            )

    def _fetch(self, asset: Asset, target: Path, size_limit: int) -> str:
        digest = hashlib.sha256()
        size = 0
        with self._chunks(asset) as chunks, target.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > size_limit:
                    raise InternalFault(
                        f"{asset.what} at {asset.address.storage_address} is larger than {size_limit} bytes"
                    )
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    @contextmanager
    def _chunks(self, asset: Asset) -> Iterator[Iterator[bytes]]:
        if asset.owner != self._settings.organization:
            with self._download(asset) as chunks:
                yield chunks
            return
        try:
            file, _ = self._store.open(asset.name)
        except FileNotFoundError as error:
            raise InternalFault(f"{asset.what} is missing from the own asset store: {asset.name}") from error
        with file:
            yield iter(lambda: file.read(_CHUNK), b"")

    @contextmanager
    def _download(self, asset: Asset) -> Iterator[Iterator[bytes]]:
        address, what = asset.address.storage_address, asset.what
        try:
            with self._downloads.get(address) as answer:
                if answer.status_code != httpx.codes.OK:
                    self._refused(answer, asset)
                yield answer.iter_raw(_CHUNK)
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _TemporaryFault(f"{what} could not be fetched from {address}: {error}") from error
        except httpx.InvalidURL as error:
            raise InternalFault(f"{what} has the address {address!r}, which is no URL: {error}") from error

    def _refused(self, answer: httpx.Response, asset: Asset) -> None:
        if answer.status_code == httpx.codes.FORBIDDEN:
            # In our words: this is told to the whole channel.
            us = self._settings.organization
            raise RefusedFault(
                f"{asset.what} belongs to {asset.owner}, whose asset store does not give it to {us}: its permissions "
                f"must name {us}"
            )
        # Not all of it: a peer could send without end.
        reason = next(answer.iter_raw(_EXPLANATION), b"").decode(errors="replace")
        fault = _PatientFault if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InternalFault
        raise fault(
            f"{asset.what} could not be fetched: {asset.address.storage_address} answered {answer.status_code} {reason}"
        )


def _enough(state: tenacity.RetryCallState, attempts: int) -> bool:
    if state.outcome is not None and isinstance(state.outcome.exception(), _PatientFault):
        return (state.seconds_since_start or 0.0) > _PATIENCE_SECONDS
    return state.attempt_number >= attempts
