"""What travels between a person and asset stores: uploads into the own one, downloads from those of all.

An upload is one PUT; when the connection breaks, what has come is asked for, and the rest is sent. See
`docs/decisions/0030-uploads.md`.
"""

import hashlib
import hmac
import socket
import ssl
import time
from pathlib import Path
from typing import IO

import httpx

from orchestrator import protos as pb
from orchestrator.client.errors import StoreError
from orchestrator.client.printing import printable
from orchestrator.client.sources import Source
from orchestrator.client.steps import about
from orchestrator.core import liveness
from orchestrator.files import whole

_CHUNK = 1024 * 1024
_CONNECT_SECONDS, _WRITE_SECONDS = 10.0, 30.0
# Of an answer: the store may verify a hundred gigabytes before it.
_READ_SECONDS = 900.0
_PATIENCE_SECONDS = 120.0
# Half of what a peer may be silent that should at least acknowledge.
_SILENT_SECONDS = 15
# Who has not been answered yet may have a wrong address, and wants to hear it.
_FIRST_PATIENCE_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_EXPLANATION = 500
_SMALL = 256 * 1024
_AGAIN = frozenset({408, 500, 502, 503, 504})


class Connection:
    """To asset stores, for one upload after another.

    Args:
        client: with our certificate, and the trust in theirs.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def close(self) -> None:
        """End it."""
        self.client.close()

    def put(self, base: str, name: str, source: Source) -> str:
        """Upload a content into the own store; return its address there.

        Args:
            base: https URL of the store.
            name: in the store.
            source: the content; one that is there already is not sent.

        Raises:
            StoreError: the store refuses, or does not answer for two minutes.
            FolderError: a file changed meanwhile.
            OSError: a file cannot be read.
        """
        address = f"{base.rstrip('/')}/{name}"
        given = _Upload(self.client, base.rstrip("/"), name, source).send()
        if given and given != address:
            raise StoreError(
                f"the asset store says that {name} is at {printable(given)}, but it is registered as {base}, and the "
                "others fetch from there alone: its ORCHESTRATOR_STORE_URL must be the registered address"
            )
        return address

    def get(self, address: pb.Addressable, what: str, path: Path, limit: int | None = None) -> None:
        """Download a file; see `Stores.get`."""
        with whole.replaced(path) as file:
            fetch(self.client, address, what, file, limit)


def connect(context: ssl.SSLContext, proxy_from_environment: bool) -> Connection:
    """Return a connection.

    Args:
        context: our certificate, and whom we trust.
        proxy_from_environment: whether by the proxy that `https_proxy` and the like name.
    """
    timeout = httpx.Timeout(_CONNECT_SECONDS, write=_WRITE_SECONDS, read=_READ_SECONDS)
    if proxy_from_environment:
        # Whom we trust is said by `verify`; of the environment nothing but a proxy is taken.
        return Connection(httpx.Client(verify=context, timeout=timeout))
    transport = httpx.HTTPTransport(verify=context, trust_env=False, socket_options=_lively())
    return Connection(httpx.Client(transport=transport, trust_env=False, timeout=timeout))


def _lively() -> list[tuple[int, int, int]]:
    """Return the options of a socket that notices soon when nobody is there, while it sends and while it waits."""
    probes = 3
    lively = liveness.options(_SILENT_SECONDS, max(1, _SILENT_SECONDS // probes), probes, 2 * _SILENT_SECONDS)
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *((socket.IPPROTO_TCP, *each) for each in lively.items())]


def fetch(client: httpx.Client, address: pb.Addressable, what: str, file: IO[bytes], limit: int | None = None) -> None:
    """Write a file of an asset store into another, and check that it is the registered one; see `Stores.get`."""
    url = address.storage_address
    if not url.startswith("https://"):
        raise StoreError(f"{what} has the address {printable(url)!r}, which is no https URL")
    digest = hashlib.sha256()
    size = 0
    try:
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                said = f"{what} is refused: {url} answered {answer.status_code} {_reason(answer)}"
                raise StoreError(said, answer.status_code)
            for chunk in answer.iter_raw(_CHUNK):
                size += len(chunk)
                if limit is not None and size > limit:
                    raise StoreError(f"{what} is larger than {limit} bytes")
                digest.update(chunk)
                file.write(chunk)
    except (httpx.TransportError, httpx.InvalidURL, ssl.SSLError) as error:
        raise StoreError(f"{what} cannot be fetched from {url}: {error}") from error
    if not hmac.compare_digest(digest.hexdigest(), address.checksum.lower()):
        raise StoreError(
            f"{what} at {url} is not the registered one: its checksum is {digest.hexdigest()}, not {address.checksum}"
        )


class _Upload:
    """One content on its way into the own store."""

    def __init__(self, client: httpx.Client, base: str, name: str, source: Source) -> None:
        self._client = client
        self._what = name
        self._base = base
        self._url = f"{base}/uploads/{source.checksum}/{name}"
        self._source = source
        self._come = -1
        self._deadline = time.monotonic() + _FIRST_PATIENCE_SECONDS
        self._restarted = False

    def send(self) -> str:
        """Send it, however often the connection breaks; return the address that the store gives."""
        pause, at_once = _FIRST_PAUSE, self._source.size <= _SMALL
        while True:
            try:
                answer = self._put(0) if at_once else self._look()
                if answer.is_success and answer.headers.get("Upload-Complete") == "?0":
                    answer = self._put(_come(answer))
                if answer.is_success:
                    return self._address(answer)
                fault, asked = self._fault(answer), _retry_after(answer)
            except (httpx.TransportError, ssl.SSLError) as error:
                fault, asked = f"the asset store at {self._base} cannot be reached: {error}", 0.0
            except httpx.InvalidURL as error:
                raise StoreError(f"{self._base} is no URL of an asset store: {error}") from error
            at_once = False
            if time.monotonic() > self._deadline:
                raise StoreError(fault)
            time.sleep(max(asked, about(pause)))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _address(self, answer: httpx.Response) -> str:
        try:
            return str(answer.json()["storage_address"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self._base} is no asset store that takes uploads: it answers something else") from error

    def _look(self) -> httpx.Response:
        answer = self._client.get(self._url, headers={"Upload-Length": str(self._source.size)})
        come = _come(answer)
        if come > self._come:
            # What goes on, however slowly, is not given up.
            self._come = come
            self._deadline = time.monotonic() + _PATIENCE_SECONDS
        return answer

    def _put(self, come: int) -> httpx.Response:
        size = self._source.size
        # All may have come, and not have been looked at: with the last byte again it is.
        offset = min(come, max(0, size - 1))
        headers = {"Content-Length": str(size - offset)}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{size - 1}/{size}"
        return self._client.put(self._url, content=self._source.chunks(offset), headers=headers)

    def _fault(self, answer: httpx.Response) -> str:
        """Return what is wrong, where it may be right another time.

        Raises:
            StoreError: it will not.
        """
        said = (
            f"{self._what} is refused: the asset store at {self._base} answered {answer.status_code} {_reason(answer)}"
        )
        if answer.status_code in _AGAIN or "Upload-Offset" in answer.headers:
            return said
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and self._come > 0 and not self._restarted:
            # What came before may have been damaged, as by a power cut; it is gone now.
            self._restarted = True
            return said
        raise StoreError(said, answer.status_code)


def _come(answer: httpx.Response) -> int:
    offset = answer.headers.get("Upload-Offset", "")
    return int(offset) if offset.isdecimal() else 0


def _retry_after(answer: httpx.Response) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else 0.0


def _reason(answer: httpx.Response) -> str:
    try:
        text = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = answer.content[:_EXPLANATION].decode(errors="replace").partition("\n")[0]
    return printable(text[:_EXPLANATION])
